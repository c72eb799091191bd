// Copies of the journal that are made while it is written.
#pragma once

#include "common/base/result.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace rtrain::store {

[[nodiscard]] std::string backup_folder(const std::string& state_dir);
/// Paths of the backups, newest first: by the number in their names, which grows with each, whatever the
/// clock said.
[[nodiscard]] std::vector<std::string> backups(const std::string& state_dir);

/// Writes one: a copy of the database as of one moment, whole or not there at all (tmp, fsync, rename, fsync
/// of the folder). The journal is read meanwhile and never locked; its log cannot be emptied for as long.
/// `label` goes into the name. Gives the path.
[[nodiscard]] Result<std::string> write_backup(const std::string& state_dir, const std::string& label = "");
/// Removes the oldest above `kept`.
void drop_old_backups(const std::string& state_dir, int kept);

/// Makes backups on a thread of its own, from construction to destruction; none when nothing was written
/// since the last one.
class Backups {
 public:
  /// @param interval_s above 0
  Backups(std::string state_dir, double interval_s, int kept);
  ~Backups();

 private:
  void run();
  std::string state_dir_;
  std::chrono::duration<double> interval_;
  int kept_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace rtrain::store
