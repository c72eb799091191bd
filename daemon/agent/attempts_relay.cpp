// What the workers of the ranks say, on its way to the head.
#include "daemon/agent/attempts.h"

#include "common/base/clip.h"
#include "common/log/log.h"
#include "daemon/agent/secret.h"
#include "proto/record/rank_files.h"

namespace rtrain::agent {

Result<Done> Attempts::worker_joins(const proto::RankKey& key, const std::string& secret,
                                    std::shared_ptr<net::FrameStream> stream, int version) {
  Rank* rank = find(key);
  if (rank == nullptr || rank->ended)
    return fail(Errc::kConflict, "rank " + to_string(key) + " does not run here");
  if (!same_secret(secret, attempts_[{key.job, key.attempt}].secret))
    return fail(Errc::kUnauthenticated, "rank " + to_string(key) + ": wrong secret");
  // It gave up its connection before this agent noticed (stopped for a while, perhaps): what was not
  // confirmed comes again on this one.
  if (rank->worker) rank->worker->close();
  rank->worker = std::move(stream);
  rank->version = version;
  rank->unconfirmed.clear();
  rank->taken = 0;
  return ok();
}

void Attempts::on_worker_welcomed(const proto::RankKey& key) {
  Rank* rank = find(key);
  if (rank == nullptr || !rank->worker || !rank->confirms()) return;
  const auto& slot = attempts_[{key.job, key.attempt}];
  if (slot.yield) proto::send(*rank->worker, *slot.yield);
  if (!rank->hears_validations()) return;
  for (const auto& [index, told] : slot.validated) proto::send(*rank->worker, told);
  if (slot.pins && rank->hears_pins()) proto::send(*rank->worker, *slot.pins);
}

void Attempts::validated(const proto::CheckpointValidated& told) {
  const auto found = attempts_.find({told.job, told.attempt});
  if (found == attempts_.end()) return;
  found->second.validated.insert_or_assign(told.checkpoint.index, told);
  for (const auto& [number, rank] : found->second.ranks)
    if (rank.worker && rank.hears_validations()) proto::send(*rank.worker, told);
}

void Attempts::pin(const proto::CheckpointPins& pins) {
  const auto found = attempts_.find({pins.job, pins.attempt});
  if (found == attempts_.end()) return;
  found->second.pins = pins;
  for (const auto& [number, rank] : found->second.ranks)
    if (rank.worker && rank.hears_pins()) proto::send(*rank.worker, pins);
}

void Attempts::profile(const proto::ProfileRanks& request) {
  const auto found = attempts_.find({request.job, request.attempt});
  for (const int number : request.ranks) {
    const proto::RankKey key{request.job, request.attempt, number};
    const auto refuse = [&](const std::string& why) {
      tell(proto::RankProfile{key, request.request, 0, {}, why});
    };
    const Rank* rank = found == attempts_.end() ? nullptr : find(key);
    if (rank == nullptr || rank->ended || rank->status)
      refuse("the rank has ended");
    else if (!rank->worker)
      refuse(
          "the rank has no connection to its agent: it runs nothing of rtrain, or is just connecting again");
    else if (rank->version < 3)
      refuse(
          "the rank's library was built with an older rtrain, which cannot be asked for a profile; build it "
          "again");
    else
      proto::send(*rank->worker, request);
  }
}

void Attempts::debug(const proto::DebugRanks& request) {
  const auto found = attempts_.find({request.job, request.attempt});
  for (const int number : request.ranks) {
    const proto::RankKey key{request.job, request.attempt, number};
    const auto refuse = [&](const std::string& why) {
      tell(proto::RankDebug{key, request.request, {}, why});
    };
    Rank* rank = found == attempts_.end() ? nullptr : find(key);
    if (rank == nullptr || rank->ended || rank->status) {
      refuse(std::string(proto::kRankHasEnded));
    } else if (!rank->worker) {
      refuse(
          "the rank has no connection to its agent: it runs nothing of rtrain, or is just connecting again");
    } else if (rank->version < 5) {
      refuse(
          "the rank's library was built with an older rtrain, which cannot be asked where it is; build it "
          "again");
    } else {
      rank->debugged = request.request;
      found->second.debugged_at = Clock::now();
      proto::send(*rank->worker, request);
    }
  }
}

void Attempts::on_worker_message(const proto::RankKey& key, const net::FrameStream& stream,
                                 const proto::Message& message) {
  Rank* rank = find(key);
  if (rank == nullptr || rank->ended || rank->worker.get() != &stream) return;
  const bool kept = !std::holds_alternative<proto::RankProgress>(message);
  if (const auto* answer = std::get_if<proto::RankDebug>(&message);
      answer != nullptr && rank->debugged == answer->request)
    rank->debugged.reset();
  const auto number = relay(*rank, message);
  if (!kept) return;
  rank->unconfirmed.push_back(number);
  confirm(*rank);
}

std::int64_t Attempts::tell(const proto::Message& message) {
  const auto number = setting_.to_head(message);
  if (number > 0) last_number_ = number;
  return number;
}

std::int64_t Attempts::relay(Rank& rank, const proto::Message& message) {
  if (const auto* report = std::get_if<proto::RankReport>(&message)) {
    // told before: settled at the latest with what was told last
    if (report->seq <= rank.last_seq) return last_number_;
    rank.last_seq = report->seq;
  } else if (std::holds_alternative<proto::RankRunning>(message)) {
    if (std::exchange(rank.entered, true)) return last_number_;
  } else if (const auto* said = std::get_if<proto::RankDebug>(&message)) {
    // The head closes a connection that brings a frame over its limit, and the outbox would send it again.
    auto answer = *said;
    proto::bound(answer.snapshot);
    answer.error = clipped(answer.error, proto::SnapshotBounds::kTextBytes);
    return tell(answer);
  }
  return tell(message);
}

void Attempts::relay_outbox(const Slot& slot, Rank& rank) {
  const auto key = key_of(slot, rank);
  for (const auto& message : proto::read_outbox(rank.dir))
    if (proto::rank_of(message) == key) relay(rank, message);
}

void Attempts::settled(std::int64_t number) {
  settled_ = number;
  for (auto& [key, slot] : attempts_)
    for (auto& [rank_number, rank] : slot.ranks) confirm(rank);
  std::erase_if(over_, [&](const auto& over) {
    const bool known = over.second <= number;
    if (known) forget_attempt(setting_.state_dir, over.first.first, over.first.second);
    return known;
  });
}

void Attempts::confirm(Rank& rank) {
  const auto before = rank.taken;
  for (; !rank.unconfirmed.empty() && rank.unconfirmed.front() <= settled_; rank.unconfirmed.pop_front())
    ++rank.taken;
  if (rank.taken > before && rank.worker && rank.confirms())
    proto::send(*rank.worker, proto::Taken{rank.taken});
}

void Attempts::worker_left(const proto::RankKey& key, const net::FrameStream& stream) {
  Rank* rank = find(key);
  if (rank == nullptr || rank->worker.get() != &stream) return;
  rank->worker.reset();
  if (rank->status) process_gone(attempts_[{key.job, key.attempt}], *rank, *rank->status);
  forget_ended();
}

void Attempts::heartbeat_workers(double lease_s) {
  for (const auto& [key, slot] : attempts_)
    for (const auto& [number, rank] : slot.ranks)
      if (rank.worker) proto::send(*rank.worker, proto::Heartbeat{lease_s});
}

}  // namespace rtrain::agent
