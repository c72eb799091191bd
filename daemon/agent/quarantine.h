// GPUs that a process holds which SIGKILL does not end: it waits in the kernel, perhaps for ever, and nobody
// can use them meanwhile.
#pragma once

#include "common/os/process.h"
#include "proto/message/message.h"

#include <functional>

namespace rtrain::agent {

/// Kept in <state_dir>/quarantine.json, so that the next agent goes on with it.
/// @thread the agent's.
class Quarantine {
 public:
  struct Entry {
    proto::RankKey key;
    std::vector<int> gpus;  ///< may be empty: the process is watched all the same
    os::ProcessIdentity process;
    std::string cgroup;  ///< of the rank; "": none. It holds as long as anything is in it
  };
  /// True while something of the rank lives.
  using Holds = std::function<bool(const Entry&)>;
  explicit Quarantine(const std::string& state_dir, Holds holds = is_held);

  void add(Entry entry);
  /// Takes back what has gone. True when there was something.
  bool release();
  /// For the head: all GPUs that are held, and why.
  [[nodiscard]] proto::NodeHealth health() const;
  /// The head has been told something, by this agent or one before: it must hear when nothing is held any
  /// more.
  [[nodiscard]] bool was_ever() const { return ever_; }
  [[nodiscard]] bool empty() const { return entries_.empty(); }

 private:
  static bool is_held(const Entry& entry);
  void read();
  void write() const;

  std::string path_;
  Holds holds_;
  std::vector<Entry> entries_;
  bool ever_ = false;
};

}  // namespace rtrain::agent
