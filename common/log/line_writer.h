// Lines for a descriptor that may not take them: the writer never waits for its reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include <sys/types.h>

namespace rtrain::log {

/// Writes whole lines to a pipe, socket, terminal or file. Where the reader of a pipe, socket or terminal is
/// behind, lines wait in memory up to kWaitingMax bytes; what comes on top is dropped, and a line says how
/// many were as soon as something can be written again. No thread: what waits goes out before the next line,
/// in drain(), and at the end. A file is written as it comes: only its disk can hold that up.
/// @thread any. Safe across fork(): a child has no part of what waits in its parent
class LineWriter {
 public:
  static constexpr std::size_t kWaitingMax = 256 << 10;

  /// The descriptor stays the caller's. Its open file description is left as it is, since other processes may
  /// share it.
  explicit LineWriter(int fd);
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;
  ~LineWriter();

  /// `line` ends with a newline. SIGPIPE and SIGXFSZ must be ignored by a process that outlives its reader or
  /// its limits.
  void write(std::string_view line);
  /// Writes what waits, as far as that is taken now. Cheap when nothing waits.
  void drain();
  /// At the end of a process: gives the reader a moment for what waits.
  void settle();
  [[nodiscard]] std::int64_t dropped() const;  ///< lines, since the start

  // For pthread_atfork(): the lock is held across a fork; the child forgets what its parent will write, and
  // looks at the descriptor anew.
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }
  void unlock_in_child();

 private:
  /// How much of the text was taken; nothing when it would block or the reader is gone.
  [[nodiscard]] std::size_t put(std::string_view text);
  /// Finds out what the descriptor is, when it is another file than the last time: a rank's stderr becomes
  /// its log.
  void look();
  void drain_locked();

  mutable std::mutex mutex_;
  int fd_;
  int own_ = -1;  ///< the same pipe or terminal, opened again without blocking
  std::pair<dev_t, ino_t> file_{};
  bool socket_ = false;
  bool blocking_ = false;  ///< neither of the two could be had: it is asked before each write
  std::string waiting_;
  std::int64_t dropped_ = 0, unreported_ = 0;
};

}  // namespace rtrain::log
