// Work on files that Ctrl-C ends after its clean-up, and not in the middle of it.
#pragma once

namespace rtrain::os {

/// While one lives, SIGINT, SIGTERM and SIGHUP do not end the process: from the first of them on, every read
/// of an OpenFile and every write of a NewFile fails with kIo, and what is half written is removed on the way
/// out. Those that the process ignores stay ignored (nohup). One at a time.
/// @thread any; it acts on the whole process.
class Interruptible {
 public:
  Interruptible();
  ~Interruptible();  ///< gives the signals their old meaning
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;
  /// The first signal that came while one lived; 0: none.
  [[nodiscard]] static int signal() noexcept;
};

}  // namespace rtrain::os
