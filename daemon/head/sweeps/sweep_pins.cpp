// Checkpoints of one trial that another one goes on from.
//
// The head chooses one that it knows, and rank 0 of the donor deletes what its report made superfluous only
// when the head has stored that report. So a checkpoint that the head knows is there, and its pin is on the
// way before anything that lets rank 0 delete it.
#include "common/base/fault.h"
#include "daemon/head/sweeps/sweeps.h"

#include <algorithm>
#include <ranges>

namespace rtrain::head {

const proto::CheckpointRecord* Sweeps::pinnable(const core::JobState& job) {
  const bool stays = !job.spec->run_config.checkpoint_config.num_to_keep;
  for (const auto& checkpoint : job.checkpoints | std::views::reverse)
    if (stays || checkpoint.pinnable) return &checkpoint;
  return nullptr;
}

std::optional<proto::CheckpointRecord> Sweeps::find_checkpoint(JobId id, std::int64_t number,
                                                               std::int64_t donor) const {
  // A member whose job ends, because a user said so or all its work is done, ends with it.
  const auto* member = living_job(id, number);
  if (member == nullptr || member->cancel_requested) return std::nullopt;
  const auto* record = context_.book.find(trial(id, donor)->job);
  const auto* checkpoint = record == nullptr ? nullptr : pinnable(record->state);
  return checkpoint == nullptr ? std::nullopt : std::optional(*checkpoint);
}

std::vector<std::string> Sweeps::pins_of(JobId job) const {
  const auto* record = context_.book.find(job);
  const auto* entry =
      record == nullptr || !record->state.sweep ? nullptr : book_.live(record->state.sweep->sweep);
  std::set<std::string> pins;
  if (entry == nullptr) return {};
  for (const auto& trial : entry->state.trials) {
    if (!trial.from || trial.from->job != job || core::has_ended(trial.phase)) continue;
    const auto* own = context_.book.find(trial.job);
    if (own == nullptr || own->state.checkpoints.empty()) pins.insert(trial.from->checkpoint);
  }
  return {pins.begin(), pins.end()};
}

void Sweeps::update_pins(JobId donor) {
  std::set<JobId> donors{donor};
  for (const auto& [job, paths] : pinned_) donors.insert(job);
  for (const auto job : donors) update_pins_of(job);
}

void Sweeps::update_pins_of(JobId donor) {
  auto pins = pins_of(donor);
  const auto told = pinned_.find(donor);
  if (told == pinned_.end() ? pins.empty() : told->second == pins) return;
  if (pins.empty())
    pinned_.erase(told);
  else
    pinned_.insert_or_assign(donor, std::move(pins));
  send_pins(donor);
}

void Sweeps::send_pins(JobId job) {
  const auto* record = context_.book.find(job);
  if (record == nullptr || !record->state.sweep || !core::has_attempt(record->state.phase)) return;
  const auto* entry = book_.live(record->state.sweep->sweep);
  if (entry == nullptr || entry->state.spec->schedule.kind != proto::ScheduleKind::kPbt) return;
  const auto session = context_.nodes.session(record->state.ranks.front().placement.node);
  // An older agent has no rank whose checkpoints are pinned, and would end the connection.
  if (!session || session->version() < 6 || fault::on(fault::Fault::kPinNotSent)) return;
  send_when_durable(context_.gate, session, proto::CheckpointPins{job, record->state.attempt, pins_of(job)});
}

}  // namespace rtrain::head
