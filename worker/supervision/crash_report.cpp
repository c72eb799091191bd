#include "worker/supervision/crash_report.h"

#include "common/log/log.h"
#include "common/os/elf.h"
#include "common/os/file.h"
#include "proto/record/rank_files.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <map>
#include <sstream>

#include <cxxabi.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rtrain::supervision {
namespace {

constexpr std::size_t kCrashBytesMax = 8u << 20;
constexpr std::size_t kFramesInError = 3;
constexpr std::size_t kNameInError = 160, kNameInLog = 400;
constexpr std::uint64_t kNearStack = 64u << 10;
constexpr int kPatienceMs = 5000;
constexpr int kTail = 20;

/// Libraries of the system, of LibTorch and of rtrain: a crash in them was called by somebody.
constexpr std::array<std::string_view, 31> kNotOfTheUser{"librtrain.",
                                                         "rtrain-worker",
                                                         "libtorch.so",
                                                         "libtorch_cpu",
                                                         "libtorch_cuda",
                                                         "libtorch_python",
                                                         "libc10",
                                                         "libc.so",
                                                         "libm.so",
                                                         "libstdc++",
                                                         "libgcc_s",
                                                         "ld-linux",
                                                         "libpthread",
                                                         "libdl.",
                                                         "librt.",
                                                         "libgomp",
                                                         "libgloo",
                                                         "libnccl",
                                                         "libcuda.",
                                                         "libcudart",
                                                         "libcublas",
                                                         "libcudnn",
                                                         "libcufft",
                                                         "libcurand",
                                                         "libcusolver",
                                                         "libcusparse",
                                                         "libnvrtc",
                                                         "libnvJitLink",
                                                         "libmkl",
                                                         "libopenblas",
                                                         "["};
/// Templates of others that live in the user's library because it uses them.
constexpr std::array<std::string_view, 5> kBorrowed{"std::", "nlohmann::", "torch::", "at::", "c10::"};

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::string hex(std::uint64_t value) {
  std::ostringstream text;
  text << "0x" << std::hex << value;
  return text.str();
}

std::uint64_t number(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 0); }

/// 7f00-7f10 r-xp 00001000 08:01 4711     /path with blanks
std::optional<Crash::Mapping> parse_mapping(const std::string& line) {
  std::istringstream fields(line);
  Crash::Mapping mapping;
  char dash = 0;
  std::string rights, device, inode;
  if (!(fields >> std::hex >> mapping.begin >> dash >> mapping.end >> rights >> mapping.offset >> device >>
        inode) ||
      dash != '-')
    return std::nullopt;
  std::getline(fields >> std::ws, mapping.path);
  return mapping;
}

const Crash::Mapping* mapping_at(const Crash& crash, std::uint64_t address) {
  const auto found = std::ranges::find_if(
      crash.maps, [&](const auto& mapping) { return address >= mapping.begin && address < mapping.end; });
  return found == crash.maps.end() ? nullptr : &*found;
}

std::string demangled(const std::string& name) {
  int status = 0;
  char* words = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  std::string result = status == 0 && words != nullptr ? words : name;
  std::free(words);
  return result;
}

std::string cut(const std::string& text, std::size_t bytes_max) {
  return text.size() <= bytes_max ? text : text.substr(0, bytes_max) + "...";
}

template <class Words>
bool begins_with_any(std::string_view text, const Words& words) {
  return std::ranges::any_of(words, [&](std::string_view word) { return text.starts_with(word); });
}

/// "void std::..." is std's, too.
bool is_borrowed(std::string_view function) {
  const auto blank = function.find(' ');
  return begins_with_any(function, kBorrowed) ||
         (blank != std::string_view::npos && blank < function.find('(') &&
          begins_with_any(function.substr(blank + 1), kBorrowed));
}

bool is_of_user(const StackFrame& frame) {
  return !frame.module.empty() && !begins_with_any(base_name(frame.module), kNotOfTheUser);
}

/// The addresses of the stack from the place of the crash on, the handler's own left out.
std::vector<std::uint64_t> addresses_of(const Crash& crash) {
  constexpr std::size_t kOfHandler = 2;  // the handler and what the kernel returns through
  std::vector<std::uint64_t> addresses{crash.pc};
  if (crash.caller != 0) addresses.push_back(crash.caller);
  auto at = std::ranges::find(crash.frames, crash.pc);
  auto from = at != crash.frames.end() ? static_cast<std::size_t>(at - crash.frames.begin()) + 1
                                       : std::min(kOfHandler, crash.frames.size());
  for (; from < crash.frames.size(); ++from)
    if (crash.frames[from] != 0 && crash.frames[from] != crash.caller)
      addresses.push_back(crash.frames[from]);
  return addresses;
}

std::string place_words(const StackFrame& frame, std::size_t name_max) {
  const auto module =
      frame.module.empty() ? hex(frame.pc) : base_name(frame.module) + " + " + hex(frame.offset);
  return frame.function.empty() ? module : cut(frame.function, name_max) + " (" + module + ")";
}

bool is_stack_overflow(const Crash& crash) {
  if (crash.signal != SIGSEGV || crash.sp == 0) return false;
  const auto low = crash.sp - std::min(crash.sp, kNearStack);
  if (crash.address < low || crash.address > crash.sp + kNearStack) return false;
  // The guard below a stack is not mapped, or mapped without rights; a good stack would not have been
  // refused.
  return true;
}

/// What is known of the memory at fault.
std::string memory_words(const Crash& crash, LookAtFile look) {
  if (crash.code <= 0 || crash.code == SI_KERNEL)
    return {};  // sent by a process, or of no address that the kernel would tell
  if (is_stack_overflow(crash))
    return ": the stack of the thread is used up (endless recursion, or large local arrays; ulimit -s)";
  if (crash.signal == SIGFPE && crash.code == FPE_INTDIV) return " (integer division by zero)";
  if (crash.signal != SIGSEGV && crash.signal != SIGBUS) return {};
  std::string words = " at address " + hex(crash.address);
  const auto* mapping = mapping_at(crash, crash.address);
  if (crash.signal != SIGBUS || mapping == nullptr || mapping->path.empty()) return words;
  const auto offset = crash.address - mapping->begin + mapping->offset;
  const auto file = look(mapping->path);
  if (!file) return words + ", where " + mapping->path + " was mapped, which is gone";
  if (offset < file->bytes)
    return words + ", where " + mapping->path + " is mapped: reading from or writing to the disk failed";
  return words + ", where " + mapping->path + " is mapped: the file has only " + std::to_string(file->bytes) +
         " bytes and byte " + std::to_string(offset) +
         " of it was used; the file is truncated (an incomplete copy), or was shortened while it was in use";
}

std::string change_words(const Crash& crash, LookAtFile look) {
  if (!crash.library) return {};
  const auto& was = *crash.library;
  const auto now = look(was.path);
  if (!now || now->inode != was.inode)
    return {};  // another file took the name: what is loaded is still whole
  if (now->bytes == was.bytes && now->modified_s == was.modified_s && now->modified_ns == was.modified_ns)
    return {};
  return "; the training library " + was.path + " was written to while it was in use (" +
         std::to_string(was.bytes) + " bytes when it was loaded, " + std::to_string(now->bytes) +
         " now): build beside it and rename, so that running ranks keep the old file";
}

void append(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd < 0) return;
  (void)!::write(fd, text.data(), text.size());
  ::close(fd);
}

void write_report(const std::string& rank_dir) {
  const auto text = os::read_file(proto::crash_path(rank_dir), kCrashBytesMax);
  if (!text || proto::read_error(rank_dir)) return;
  const auto crash = parse_crash(*text);
  if (!crash)
    return log::warn("what a rank left at its crash cannot be read",
                     {{"folder", rank_dir}, {"cause", crash.error().message()}});
  const auto stack = stack_of(*crash);
  auto error = explain_crash(*crash, stack);
  error.log_tail =
      os::tail_lines(proto::log_path(rank_dir), kTail);  // the rank's own last words, not the stack
  append(proto::log_path(rank_dir), stack_text(*crash, stack));
  if (auto written = proto::write_error(rank_dir, error); !written)
    log::warn("a rank's error cannot be written",
              {{"folder", rank_dir}, {"cause", written.error().message()}});
}

}  // namespace

Result<Crash> parse_crash(std::string_view text) {
  Crash crash;
  std::istringstream lines{std::string(text)};
  std::string line;
  while (std::getline(lines, line) && line != "maps") {
    const auto blank = line.find(' ');
    const auto word = line.substr(0, blank), value = blank == std::string::npos ? "" : line.substr(blank + 1);
    if (word == "signal")
      crash.signal = std::atoi(value.c_str());
    else if (word == "code")
      crash.code = std::atoi(value.c_str());
    else if (word == "address")
      crash.address = number(value);
    else if (word == "thread")
      crash.thread = std::atoll(value.c_str());
    else if (word == "pc")
      crash.pc = number(value);
    else if (word == "sp")
      crash.sp = number(value);
    else if (word == "caller")
      crash.caller = number(value);
    else if (word == "frame")
      crash.frames.push_back(number(value));
    else if (word == "library") {
      Crash::Library library;
      std::istringstream fields(value);
      if (fields >> library.inode >> library.bytes >> library.modified_s >> library.modified_ns &&
          std::getline(fields >> std::ws, library.path))
        crash.library = library;
    }
  }
  if (crash.signal <= 0) return fail(Errc::kProtocol, "it names no signal");
  while (std::getline(lines, line))
    if (auto mapping = parse_mapping(line)) crash.maps.push_back(std::move(*mapping));
  return crash;
}

std::vector<StackFrame> stack_of(const Crash& crash) {
  std::vector<StackFrame> stack;
  std::map<std::string, std::vector<std::size_t>> by_module;
  for (const auto address : addresses_of(crash)) {
    StackFrame frame;
    frame.pc = address;
    if (const auto* mapping = mapping_at(crash, address); mapping != nullptr && !mapping->path.empty()) {
      frame.module = mapping->path;
      frame.offset = address - mapping->begin + mapping->offset;
      by_module[frame.module].push_back(stack.size());
    }
    stack.push_back(std::move(frame));
  }
  for (const auto& [module, frames] : by_module) {
    std::vector<std::uint64_t> offsets;
    // A return address may be the first byte after a function that never returns: the call is before it.
    for (const auto index : frames)
      offsets.push_back(stack[index].offset - (index > 0 && stack[index].offset > 0 ? 1 : 0));
    const auto symbols = os::elf_symbols(module, offsets);
    for (std::size_t i = 0; i < frames.size(); ++i)
      if (symbols[i]) {
        stack[frames[i]].function = demangled(symbols[i]->name);
        stack[frames[i]].function_offset = symbols[i]->offset + (frames[i] > 0 ? 1 : 0);
      }
  }
  return stack;
}

std::optional<FileNow> file_now(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;
  return FileNow{info.st_ino, static_cast<std::uint64_t>(info.st_size), info.st_mtim.tv_sec,
                 info.st_mtim.tv_nsec};
}

proto::RankError explain_crash(const Crash& crash, const std::vector<StackFrame>& stack, LookAtFile look) {
  const bool broken = crash.signal == SIGBUS && (crash.code == BUS_MCEERR_AR || crash.code == BUS_MCEERR_AO);
  proto::RankError error;
  error.kind = broken ? "hardware" : "signal";
  error.message = to_string(proto::ExitStatus{std::nullopt, crash.signal, false});
  if (broken) {
    error.message += ": the machine reported broken memory at address " + hex(crash.address);
    return error;
  }
  error.message += memory_words(crash, look);
  std::vector<const StackFrame*> shown;
  for (const bool strict : {true, false}) {
    if (!shown.empty()) break;
    for (const auto& frame : stack)
      if (is_of_user(frame) && (!strict || (!frame.function.empty() && !is_borrowed(frame.function))) &&
          shown.size() < kFramesInError)
        shown.push_back(&frame);
  }
  if (shown.empty())
    for (const auto& frame : stack)
      if (shown.size() < kFramesInError) shown.push_back(&frame);
  for (std::size_t i = 0; i < shown.size(); ++i)
    error.message += (i == 0 ? (shown[0] == &stack[0] ? " in " : ", below ") : ", called from ") +
                     place_words(*shown[i], kNameInError);
  error.message += change_words(crash, look);
  return error;
}

std::string stack_text(const Crash& crash, const std::vector<StackFrame>& stack) {
  std::string text = "rtrain: the rank " + to_string(proto::ExitStatus{std::nullopt, crash.signal, false}) +
                     "; thread " + std::to_string(crash.thread) + ":\n";
  for (std::size_t i = 0; i < stack.size(); ++i) {
    const auto& frame = stack[i];
    text += "rtrain:   #" + std::to_string(i) + " " +
            (frame.function.empty() ? hex(frame.pc)
                                    : cut(frame.function, kNameInLog) + " + " + hex(frame.function_offset));
    text += (frame.module.empty() ? std::string() : " in " + frame.module + " + " + hex(frame.offset)) + "\n";
  }
  return text;
}

void report_crash(const std::string& rank_dir) {
  if (::access(proto::crash_path(rank_dir).c_str(), F_OK) != 0) return;
  const pid_t child = ::fork();
  if (child < 0) return;
  if (child == 0) {
    write_report(rank_dir);
    ::_exit(0);
  }
  for (int waited = 0; waited < kPatienceMs; ++waited) {
    if (::waitpid(child, nullptr, WNOHANG) != 0) return;
    ::usleep(1000);
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

}  // namespace rtrain::supervision
