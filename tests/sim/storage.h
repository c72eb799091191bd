// Where the checkpoints of a run lie, and rank 0 of an attempt, which keeps num_to_keep of them. Modelled
// rules, those of worker/sdk/job_reports.cpp: what a report makes superfluous goes when the head has stored
// the report, and nothing goes that is pinned then. What goes is said by the real retention.
#pragma once

#include "worker/runtime/retention.h"

#include <map>

namespace rtrain::sim {

/// Storage that all nodes share; a power cut leaves it.
class Storage {
 public:
  void write(const std::string& path, std::int64_t epoch) { all_[path] = {epoch, true}; }
  void remove(const std::string& path) { all_[path].there = false; }
  [[nodiscard]] bool contains(const std::string& path) const {
    const auto found = all_.find(path);
    return found != all_.end() && found->second.there;
  }
  /// At which it was written, also when it is gone; 0: nobody wrote it.
  [[nodiscard]] std::int64_t epoch(const std::string& path) const {
    const auto found = all_.find(path);
    return found == all_.end() ? 0 : found->second.epoch;
  }

 private:
  struct Checkpoint {
    std::int64_t epoch = 0;
    bool there = false;
  };
  std::map<std::string, Checkpoint> all_;
};

/// What rank 0 of an attempt knows of its job's checkpoints.
class KeptCheckpoints {
 public:
  KeptCheckpoints(Storage& storage, const proto::CheckpointConfig& config,
                  std::vector<proto::CheckpointRecord> kept, const std::vector<std::string>& pins)
      : storage_(storage), config_(config), kept_(std::move(kept)), pins_(pins.begin(), pins.end()) {
    dropped_ = runtime::left_pinned(kept_, config_, pins_);
  }
  /// @return the paths of those that go with its report
  std::vector<std::string> add(proto::CheckpointRecord record, std::int64_t epoch) {
    storage_.write(record.path, epoch);
    kept_.push_back(std::move(record));
    std::vector<std::string> gone;
    for (auto& old : runtime::to_delete(kept_, config_, pins_)) {
      std::erase_if(kept_, [&](const auto& one) { return one.index == old.index; });
      gone.push_back(old.path);
      dropped_.push_back(std::move(old));
    }
    return gone;
  }
  void pin(const std::vector<std::string>& paths) { pins_ = {paths.begin(), paths.end()}; }
  /// All that was reported is stored.
  void on_stored() {
    for (const auto& old : runtime::not_pinned(dropped_, pins_)) storage_.remove(old.path);
    std::erase_if(dropped_, [&](const auto& old) { return !pins_.contains(old.path); });
  }

 private:
  Storage& storage_;
  proto::CheckpointConfig config_;
  std::vector<proto::CheckpointRecord> kept_, dropped_;
  runtime::Pins pins_;
};

}  // namespace rtrain::sim
