// Checkpoints that are validated beside the training: a job for each, and what its end says.
#include "common/base/fault.h"
#include "common/log/log.h"
#include "daemon/core/validation.h"
#include "daemon/head/dispatcher.h"

#include <algorithm>
#include <limits>

namespace rtrain::head {

/// Left for the next tick when there is no room for it in the queue, or on the disk.
void Dispatcher::start_validation(JobId id, std::int64_t index) {
  unstarted_validations_.erase({id, index});
  const auto& parent = book_.find(id)->state;
  const auto* checkpoint = core::checkpoint_of(parent, index);
  if (core::is_terminal(parent.phase) || checkpoint == nullptr || !checkpoint->pinned()) return;
  auto spec = core::validation_spec(parent, *checkpoint);
  const auto storable = proto::reads_back(spec);
  const auto started = storable ? submit(std::move(spec), parent.user, {},
                                         proto::ValidatedCheckpoint{id, index, checkpoint->path})
                                : Result<JobId>(storable.error());
  if (started) {
    validating_[{id, index}] = *started;
    return apply(id, proto::ValidationStarted{index, *started});
  }
  if (started.error().code() == Errc::kUnavailable) {
    unstarted_validations_.insert({id, index});
    return;
  }
  log::warn("a checkpoint cannot be validated",
            {{"job", to_string(id)}, {"checkpoint", checkpoint->path}, {"cause", started.error().message()}});
  end_validation(id, {index, proto::ValidationStatus::kFailed, proto::Json::object(),
                      "its job cannot be submitted: " + started.error().message()});
}

void Dispatcher::end_validation(JobId id, proto::ValidationEnded ended) {
  if (!ended.error.empty())
    log::warn("a checkpoint was not validated",
              {{"job", to_string(id)}, {"checkpoint", std::to_string(ended.index)}, {"cause", ended.error}});
  apply(id, std::move(ended));
}

void Dispatcher::note_validation_ended(JobId child) {
  const auto& state = book_.find(child)->state;
  if (!state.validates) return;
  const auto [parent, index, path] = *state.validates;
  validating_.erase({parent, index});
  const auto* record = book_.find(parent);
  if (record == nullptr || core::is_terminal(record->state.phase)) return;
  if (fault::on(fault::Fault::kValidationForgotten)) return;
  end_validation(parent, core::validation_ended(state, index));
}

std::vector<std::pair<std::int64_t, JobId>> Dispatcher::validations_of(JobId parent) const {
  std::vector<std::pair<std::int64_t, JobId>> jobs;
  for (auto it = validating_.lower_bound({parent, std::numeric_limits<std::int64_t>::min()});
       it != validating_.end() && it->first.first == parent; ++it)
    jobs.emplace_back(it->first.second, it->second);
  return jobs;
}

void Dispatcher::cancel_validations(JobId parent) {
  const auto& state = book_.find(parent)->state;
  const auto by = state.cancel_requested ? state.cancelled_by : "the failure of job " + core::name_of(state);
  std::erase_if(unstarted_validations_, [&](const auto& waiting) { return waiting.first == parent; });
  for (const auto& [index, child] : validations_of(parent))
    if (auto done = cancel(child, by); !done)
      log::debug("a validation is not cancelled",
                 {{"job", to_string(child)}, {"cause", done.error().message()}});
}

/// The ranks are gone. What is in the queue when the time is over will not start in time.
void Dispatcher::await_validations(JobId id) {
  const auto& state = book_.find(id)->state;
  double wait_s = 0;
  for (const auto& checkpoint : state.checkpoints)
    if (checkpoint.pinned()) wait_s = std::max(wait_s, core::validation_timeout_s(state, checkpoint));
  deadlines_.set(id, DueFor::kValidation, clock_.steady() + from_seconds(wait_s));
}

void Dispatcher::give_up_validations(JobId id) {
  if (book_.find(id)->state.phase != core::JobPhase::kValidating) return;
  const auto timeout = [&](std::int64_t index, const std::string& why) {
    end_validation(id, {index, proto::ValidationStatus::kTimeout, proto::Json::object(), why});
  };
  for (const auto& [index, child] : validations_of(id)) {
    if (book_.find(child)->state.phase != core::JobPhase::kQueued) continue;  // its own time limit ends it
    const auto why = waiting(child).reason;
    timeout(index, "job " + to_string(child) + " did not start in time" + (why.empty() ? "" : ": " + why));
    if (auto done = cancel(child, "the timeout of its validation"); !done)
      log::debug("a validation is not cancelled",
                 {{"job", to_string(child)}, {"cause", done.error().message()}});
  }
  const auto unstarted = unstarted_validations_;
  for (const auto& [parent, index] : unstarted)
    if (parent == id && unstarted_validations_.erase({parent, index}) > 0)
      timeout(index, "the head had no room for its job");
  if (book_.find(id)->state.phase == core::JobPhase::kValidating) await_validations(id);
}

void Dispatcher::start_unstarted_validations() {
  const auto waiting = unstarted_validations_;
  for (const auto& [id, index] : waiting) {
    start_validation(id, index);
    if (unstarted_validations_.contains({id, index})) return;  // there is no room yet
  }
}

void Dispatcher::tell_validated(JobId id, const proto::CheckpointRecord& checkpoint,
                                const std::string& node) {
  const auto session = nodes_.session(node);
  if (!session || session->version() < 4) return;
  tell(session, proto::CheckpointValidated{id, book_.find(id)->state.attempt, checkpoint});
}

void Dispatcher::tell_all_validated(JobId id, const std::string& node) {
  for (const auto& checkpoint : book_.find(id)->state.checkpoints)
    if (checkpoint.validation && !checkpoint.pinned()) tell_validated(id, checkpoint, node);
}

/// After a start of the head. Submission and end of a validation are stored together with what they mean for
/// the parent, so that only those are to do that had not begun.
void Dispatcher::recover_validations() {
  std::vector<JobId> parents;
  for (const auto& [id, record] : book_.all()) {
    const auto& state = record.state;
    if (core::is_terminal(state.phase)) continue;
    if (state.validates) validating_[{state.validates->job, state.validates->index}] = id;
    if (core::awaits_validation(state)) parents.push_back(id);
  }
  for (const auto id : parents) {
    if (book_.find(id)->state.phase == core::JobPhase::kValidating) await_validations(id);
    const auto checkpoints = book_.find(id)->state.checkpoints;
    for (const auto& checkpoint : checkpoints) {
      if (!checkpoint.pinned() || validating_.contains({id, checkpoint.index})) continue;
      const auto child = checkpoint.validation->job;
      const auto* record = child.value() == 0 ? nullptr : book_.find(child);
      if (child.value() == 0)
        unstarted_validations_.insert({id, checkpoint.index});
      else if (record == nullptr || !core::is_terminal(record->state.phase))
        end_validation(id, {checkpoint.index, proto::ValidationStatus::kFailed, proto::Json::object(),
                            "nothing is known of job " + to_string(child) + ", which validated it"});
      else
        end_validation(id, core::validation_ended(record->state, checkpoint.index));
    }
  }
}

}  // namespace rtrain::head
