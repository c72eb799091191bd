// Words for what a rank left when a signal ended it (worker/runtime/crash_handler.h): which functions of
// which libraries, whose memory.
#pragma once

#include "common/base/result.h"
#include "proto/message/types.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::supervision {

/// The file <rank_dir>/crash: lines of a word and its value, then "maps" and a copy of /proc/PID/maps.
struct Crash {
  struct Mapping {
    std::uint64_t begin = 0, end = 0, offset = 0;
    std::string path;  ///< "" for memory without a file
  };
  struct Library {
    std::string path;
    std::uint64_t inode = 0, bytes = 0;
    std::int64_t modified_s = 0, modified_ns = 0;
  };
  int signal = 0, code = 0;   ///< of siginfo_t
  std::uint64_t address = 0;  ///< that could not be used
  std::uint64_t pc = 0, sp = 0;
  std::uint64_t caller = 0;  ///< of a function that is none; 0: known from the frames
  std::int64_t thread = 0;
  std::vector<std::uint64_t> frames;  ///< of the handler first
  std::optional<Library> library;     ///< the training library as it was when it was loaded
  std::vector<Mapping> maps;
};
/// kProtocol: no such file.
[[nodiscard]] Result<Crash> parse_crash(std::string_view text);

/// One function on the stack, innermost first.
struct StackFrame {
  std::uint64_t pc = 0;
  std::string module;        ///< path of the library or program; "" unknown
  std::uint64_t offset = 0;  ///< of the place within the module's file
  std::string function;      ///< in C++ words; "" unknown
  std::uint64_t function_offset = 0;
};
/// Reads the symbols of the libraries from the disk.
[[nodiscard]] std::vector<StackFrame> stack_of(const Crash& crash);

/// What is on the disk now.
struct FileNow {
  std::uint64_t inode = 0, bytes = 0;
  std::int64_t modified_s = 0, modified_ns = 0;
};
using LookAtFile = std::optional<FileNow> (*)(const std::string& path);
[[nodiscard]] std::optional<FileNow> file_now(const std::string& path);

/// "was killed by signal 11 (Segmentation fault) at address 0x10 in Net::forward(at::Tensor) (libnet.so +
/// 0x12f4), called from ..." with the first frames that are of the user's own libraries. kind "signal";
/// "hardware" where the machine reported broken memory.
[[nodiscard]] proto::RankError explain_crash(const Crash& crash, const std::vector<StackFrame>& stack,
                                             LookAtFile look = file_now);
/// The whole stack, a line a frame, for the log.
[[nodiscard]] std::string stack_text(const Crash& crash, const std::vector<StackFrame>& stack);

/// Makes error.json of what the rank has left, and adds the stack to its log; nothing when there is no such
/// file, or error.json is there already. In a child of its own for at most 5 s: symbols are read from
/// wherever the libraries are.
void report_crash(const std::string& rank_dir);

}  // namespace rtrain::supervision
