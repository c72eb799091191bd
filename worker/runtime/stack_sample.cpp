#include "worker/runtime/stack_sample.h"

#include "common/os/elf.h"
#include "common/os/file.h"

#include <cxxabi.h>
#include <execinfo.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <sstream>
#include <thread>

namespace rtrain::runtime {
namespace {

constexpr int kSampledMax = 64;
constexpr std::size_t kNameMax = 200, kMapsBytesMax = 8u << 20;

// All that the handler reads and writes.
void* sampled[kSampledMax];
std::atomic<int> sampled_count{-1};
std::atomic<std::uintptr_t> sampled_pc{0};
/// A signal was sent, and its handler has not ended. It may come long after its request has given up: another
/// one is not sent before, so that nothing is written while somebody reads.
std::atomic<bool> sample_pending{false};
std::atomic<pid_t> sampler_owner{0};  ///< 0: there is no handler

int sample_signal() { return SIGRTMAX - 6; }

std::uintptr_t pc_of([[maybe_unused]] const void* context) {
#if defined(__x86_64__)
  return static_cast<std::uintptr_t>(static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return static_cast<const ucontext_t*>(context)->uc_mcontext.pc;
#else
  return 0;
#endif
}

void on_sample(int, siginfo_t*, void* context) {
  if (!sample_pending.load(std::memory_order_acquire)) return;  // nobody here has sent it
  const int before = errno;
  sampled_pc.store(pc_of(context), std::memory_order_relaxed);
  sampled_count.store(::backtrace(sampled, kSampledMax), std::memory_order_release);
  sample_pending.store(false, std::memory_order_release);
  errno = before;
}

struct MappedFile {
  std::uintptr_t begin = 0, end = 0, offset = 0;
  std::string path;
};

std::vector<MappedFile> mapped_files() {
  std::vector<MappedFile> files;
  const auto text = os::read_file("/proc/self/maps", kMapsBytesMax);
  if (!text) return files;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    MappedFile file;
    char dash = 0;
    std::string rights, device, inode;
    if (!(fields >> std::hex >> file.begin >> dash >> file.end >> rights >> file.offset >> device >> inode))
      continue;
    std::getline(fields >> std::ws, file.path);
    if (rights.find('x') != std::string::npos) files.push_back(std::move(file));
  }
  return files;
}

std::string hex_words(std::uintptr_t value) {
  std::ostringstream text;
  text << "0x" << std::hex << value;
  return text.str();
}

std::string function_words(const std::string& name) {
  int status = 0;
  char* words = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  std::string text = status == 0 && words != nullptr ? words : name;
  std::free(words);
  if (text.size() > kNameMax) text = text.substr(0, kNameMax) + "...";
  return text;
}

}  // namespace

void install_stack_sampler() {
  if (sampler_owner.load() == ::getpid()) return;
  struct sigaction old {};
  if (::sigaction(sample_signal(), nullptr, &old) != 0 ||
      (old.sa_handler != SIG_DFL && old.sa_sigaction != on_sample))
    return;
  void* one[1];
  (void)::backtrace(one, 1);  // loads what unwinds: not a thing to do in a handler
  struct sigaction action {};
  action.sa_sigaction = on_sample;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  sample_pending = false;  // after a fork: signals of the parent are not the child's
  if (::sigaction(sample_signal(), &action, nullptr) == 0) sampler_owner = ::getpid();
}

StackSample sample_main_thread(std::chrono::milliseconds limit) {
  StackSample sample;
  const auto owner = sampler_owner.load();
  if (owner != ::getpid()) {
    sample.error = "the program handles signal " + std::to_string(sample_signal()) +
                   " itself, which rtrain takes stacks with";
    return sample;
  }
  const auto deadline = std::chrono::steady_clock::now() + limit;
  const auto is_handled = [&] {
    while (sample_pending.load(std::memory_order_acquire)) {
      if (std::chrono::steady_clock::now() >= deadline) {
        sample.error = "the main thread did not take a signal within " + std::to_string(limit.count()) +
                       " ms: it blocks signals, or waits in the kernel for a device or a file server";
        return false;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  };
  if (!is_handled()) return sample;  // that of an earlier request
  sampled_count.store(-1);
  sample_pending.store(true, std::memory_order_release);
  if (::syscall(SYS_tgkill, owner, owner, sample_signal()) != 0) {
    sample.error = std::string("the main thread cannot be interrupted: ") + std::strerror(errno);
    sample_pending.store(false);
    return sample;
  }
  if (!is_handled()) return sample;
  const int count = std::max(0, sampled_count.load(std::memory_order_acquire));
  for (int i = 0; i < count; ++i) sample.frames.push_back(reinterpret_cast<std::uintptr_t>(sampled[i]));
  const auto pc = sampled_pc.load(std::memory_order_relaxed);
  const auto at = std::ranges::find(sample.frames, pc);
  constexpr std::ptrdiff_t kOfHandler = 2;  // the handler and what the kernel returns through
  sample.frames.erase(
      sample.frames.begin(),
      at != sample.frames.end()
          ? at
          : sample.frames.begin() + std::min(kOfHandler, static_cast<std::ptrdiff_t>(sample.frames.size())));
  return sample;
}

std::vector<std::string> stack_words(const std::vector<std::uintptr_t>& frames) {
  const auto files = mapped_files();
  struct Found {
    std::uintptr_t offset = 0;  ///< in the file
    std::string path, function;
  };
  std::vector<Found> found(frames.size());
  std::map<std::string, std::vector<std::size_t>> by_file;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto file = std::ranges::find_if(
        files, [&](const MappedFile& one) { return frames[i] >= one.begin && frames[i] < one.end; });
    if (file == files.end()) continue;
    // A return address stands behind its call, which may be the last instruction of its function.
    found[i].offset = frames[i] - file->begin + file->offset - (i > 0 ? 1 : 0);
    found[i].path = file->path;
    if (file->path.starts_with('/')) by_file[file->path].push_back(i);
  }
  for (const auto& [path, places] : by_file) {
    std::vector<std::uint64_t> offsets;
    for (const auto place : places) offsets.push_back(found[place].offset);
    const auto symbols = os::elf_symbols(path, offsets);
    for (std::size_t i = 0; i < places.size(); ++i)
      if (symbols[i]) found[places[i]].function = function_words(symbols[i]->name);
  }
  std::vector<std::string> words;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto& frame = found[i];
    const auto place = frame.path.empty()
                           ? hex_words(frames[i])
                           : frame.path.substr(frame.path.rfind('/') + 1) + " + " + hex_words(frame.offset);
    words.push_back(frame.function.empty() ? place : frame.function + " (" + place + ")");
  }
  return words;
}

}  // namespace rtrain::runtime
