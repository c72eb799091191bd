#include "daemon/head/jobs/validations.h"

#include "common/base/fault.h"
#include "common/log/log.h"
#include "daemon/core/validation.h"

#include <algorithm>
#include <limits>

namespace rtrain::head {

void Validations::start(JobId id, std::int64_t index) {
  unstarted_.erase({id, index});
  const auto& parent = context_.state(id);
  const auto* checkpoint = core::checkpoint_of(parent, index);
  if (core::is_terminal(parent.phase) || checkpoint == nullptr || !checkpoint->pinned()) return;
  auto spec = core::validation_spec(parent, *checkpoint);
  const auto storable = proto::reads_back(spec);
  const auto started = storable ? commands_.submit(std::move(spec), parent.user, {},
                                                   proto::ValidatedCheckpoint{id, index, checkpoint->path})
                                : Result<JobId>(storable.error());
  if (started) {
    running_[{id, index}] = *started;
    return turn_.post(id, proto::ValidationStarted{index, *started});
  }
  if (started.error().code() == Errc::kUnavailable) {
    unstarted_.insert({id, index});
    return;
  }
  log::warn("a checkpoint cannot be validated",
            {{"job", to_string(id)}, {"checkpoint", checkpoint->path}, {"cause", started.error().message()}});
  end(id, {index, proto::ValidationStatus::kFailed, proto::Json::object(),
           "its job cannot be submitted: " + started.error().message()});
}

void Validations::end(JobId id, proto::ValidationEnded ended) {
  if (!ended.error.empty())
    log::warn("a checkpoint was not validated",
              {{"job", to_string(id)}, {"checkpoint", std::to_string(ended.index)}, {"cause", ended.error}});
  turn_.post(id, std::move(ended));
}

void Validations::on_ended(JobId child) {
  const auto& state = context_.state(child);
  if (!state.validates) return;
  const auto [parent, index, path] = *state.validates;
  running_.erase({parent, index});
  const auto* record = context_.book.find(parent);
  if (record == nullptr || core::is_terminal(record->state.phase)) return;
  if (fault::on(fault::Fault::kValidationForgotten)) return;
  end(parent, core::validation_ended(state, index));
}

std::vector<std::pair<std::int64_t, JobId>> Validations::children_of(JobId parent) const {
  std::vector<std::pair<std::int64_t, JobId>> jobs;
  for (auto it = running_.lower_bound({parent, std::numeric_limits<std::int64_t>::min()});
       it != running_.end() && it->first.first == parent; ++it)
    jobs.emplace_back(it->first.second, it->second);
  return jobs;
}

void Validations::cancel_all(JobId parent) {
  const auto& state = context_.state(parent);
  const auto by = state.cancel_requested                   ? state.cancelled_by
                  : state.phase == core::JobPhase::kFailed ? "the failure of job " + core::name_of(state)
                                                           : "the end of job " + core::name_of(state);
  std::erase_if(unstarted_, [&](const auto& waiting) { return waiting.first == parent; });
  const auto validations = children_of(parent);
  for (const auto& [index, child] : validations) turn_.post(child, proto::CancelRequested{by});
  if (!validations.empty()) turn_.request_pass();
}

void Validations::await_children(JobId id) {
  const auto& state = context_.state(id);
  double wait_s = 0;
  for (const auto& checkpoint : state.checkpoints)
    if (checkpoint.pinned()) wait_s = std::max(wait_s, core::validation_timeout_s(state, checkpoint));
  context_.deadlines.set(id, DueFor::kValidation, context_.now() + from_seconds(wait_s));
}

void Validations::on_timeout(JobId id) {
  if (context_.state(id).phase != core::JobPhase::kValidating) return;
  const auto timeout = [&](std::int64_t index, const std::string& why) {
    end(id, {index, proto::ValidationStatus::kTimeout, proto::Json::object(), why});
  };
  for (const auto& [index, child] : children_of(id)) {
    if (context_.state(child).phase != core::JobPhase::kQueued) continue;  // its own time limit ends it
    const auto why = scheduling_.waiting(child).reason;
    timeout(index, "job " + to_string(child) + " did not start in time" + (why.empty() ? "" : ": " + why));
    if (auto done = commands_.cancel(child, "the timeout of its validation"); !done)
      log::debug("a validation is not cancelled",
                 {{"job", to_string(child)}, {"cause", done.error().message()}});
  }
  const auto unstarted = unstarted_;
  for (const auto& [parent, index] : unstarted)
    if (parent == id && unstarted_.erase({parent, index}) > 0)
      timeout(index, "the head had no room for its job");
  if (context_.state(id).phase == core::JobPhase::kValidating) await_children(id);
}

void Validations::tick() {
  const auto waiting = unstarted_;
  for (const auto& [id, index] : waiting) {
    start(id, index);
    if (unstarted_.contains({id, index})) return;  // there is no room yet
  }
}

void Validations::send(JobId id, const proto::CheckpointRecord& checkpoint, const std::string& node) {
  const auto session = context_.nodes.session(node);
  if (!session || session->version() < 4) return;
  send_when_durable(context_.gate, session,
                    proto::CheckpointValidated{id, context_.state(id).attempt, checkpoint});
}

void Validations::send_validated(JobId parent, std::int64_t index, const std::set<std::string>& nodes) {
  const auto* checkpoint = core::checkpoint_of(context_.state(parent), index);
  if (checkpoint == nullptr) return;
  for (const auto& node : nodes) send(parent, *checkpoint, node);
}

void Validations::send_all_validated(JobId id, const std::string& node) {
  for (const auto& checkpoint : context_.state(id).checkpoints)
    if (checkpoint.validation && !checkpoint.pinned()) send(id, checkpoint, node);
}

void Validations::recover() {
  std::vector<JobId> parents;
  for (const auto& [id, record] : context_.book.all()) {
    const auto& state = record.state;
    if (core::is_terminal(state.phase)) continue;
    if (state.validates) running_[{state.validates->job, state.validates->index}] = id;
    if (core::awaits_validation(state)) parents.push_back(id);
  }
  for (const auto id : parents) {
    if (context_.state(id).phase == core::JobPhase::kValidating) await_children(id);
    const auto checkpoints = context_.state(id).checkpoints;
    for (const auto& checkpoint : checkpoints) {
      if (!checkpoint.pinned() || running_.contains({id, checkpoint.index})) continue;
      const auto child = checkpoint.validation->job;
      const auto* record = child.value() == 0 ? nullptr : context_.book.find(child);
      if (child.value() == 0)
        unstarted_.insert({id, checkpoint.index});
      else if (record == nullptr || !core::is_terminal(record->state.phase))
        end(id, {checkpoint.index, proto::ValidationStatus::kFailed, proto::Json::object(),
                 "nothing is known of job " + to_string(child) + ", which validated it"});
      else
        end(id, core::validation_ended(record->state, checkpoint.index));
    }
  }
}

}  // namespace rtrain::head
