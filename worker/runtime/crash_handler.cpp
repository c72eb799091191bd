#include "worker/runtime/crash_handler.h"

#include "proto/record/rank_files.h"

#include <execinfo.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>

namespace rtrain::runtime {
namespace {

constexpr std::array kSignals{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
constexpr int kFramesMax = 64;
constexpr unsigned kGiveUpS = 10;  // an unwinder that meets a broken stack may go round in circles
constexpr std::size_t kStackBytes = 256u << 10;
constexpr std::uintptr_t kFirstPage = 4096;

// All that the handler reads, made before.
char crash_file[4096];
char library_line[4096 + 128];
std::atomic<std::size_t> library_bytes{0};
pid_t owner = 0;
std::atomic<pid_t> reporter{0};
std::atomic<int> reported_signal{0};

/// Text made without the heap and without locale.
class Line {
 public:
  explicit Line(int fd) : fd_(fd) {}
  Line& text(const char* words) {
    while (*words != '\0' && size_ < sizeof buffer_) buffer_[size_++] = *words++;
    return *this;
  }
  Line& hex(std::uintptr_t value) {
    text("0x");
    char digits[2 * sizeof value];
    int count = 0;
    do {
      digits[count++] = "0123456789abcdef"[value & 15];
      value >>= 4;
    } while (value != 0);
    while (count > 0 && size_ < sizeof buffer_) buffer_[size_++] = digits[--count];
    return *this;
  }
  Line& number(long value) {
    if (value < 0) text("-");
    auto left = static_cast<unsigned long>(value < 0 ? -value : value);
    char digits[24];
    int count = 0;
    do {
      digits[count++] = static_cast<char>('0' + left % 10);
      left /= 10;
    } while (left != 0);
    while (count > 0 && size_ < sizeof buffer_) buffer_[size_++] = digits[--count];
    return *this;
  }
  void end() {
    text("\n");
    write_all(fd_, buffer_, size_);
    size_ = 0;
  }
  static void write_all(int fd, const char* data, std::size_t bytes) {
    while (bytes > 0) {
      const auto written = ::write(fd, data, bytes);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return;
      data += written;
      bytes -= static_cast<std::size_t>(written);
    }
  }

 private:
  int fd_;
  char buffer_[256];
  std::size_t size_ = 0;
};

struct Place {
  std::uintptr_t pc = 0, sp = 0, caller = 0;
};

Place place_of(const void* context) {
  Place place;
  const auto& machine = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  place.pc = static_cast<std::uintptr_t>(machine.gregs[REG_RIP]);
  place.sp = static_cast<std::uintptr_t>(machine.gregs[REG_RSP]);
  // A call of a null pointer has no frame: who called stands on the stack.
  if (place.pc < kFirstPage && place.sp > kFirstPage)
    // NOLINTNEXTLINE(performance-no-int-to-ptr): a stack pointer is a number until here
    std::memcpy(&place.caller, reinterpret_cast<const void*>(place.sp), sizeof place.caller);
#elif defined(__aarch64__)
  place.pc = machine.pc;
  place.sp = machine.sp;
  if (place.pc < kFirstPage) place.caller = machine.regs[30];
#else
  (void)machine;
#endif
  return place;
}

void copy_maps(int to) {
  const int from = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (from < 0) return;
  char chunk[4096];
  for (;;) {
    const auto got = ::read(from, chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    Line::write_all(to, chunk, static_cast<std::size_t>(got));
  }
  ::close(from);
}

void write_crash(int signal, const siginfo_t& info, const void* context) {
  const int fd = ::open(crash_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return;
  const auto place = place_of(context);
  Line line(fd);
  line.text("signal ").number(signal).end();
  line.text("code ").number(info.si_code).end();
  line.text("address ").hex(reinterpret_cast<std::uintptr_t>(info.si_addr)).end();
  line.text("thread ").number(::syscall(SYS_gettid)).end();
  line.text("pc ").hex(place.pc).end();
  line.text("sp ").hex(place.sp).end();
  if (place.caller != 0) line.text("caller ").hex(place.caller).end();
  Line::write_all(fd, library_line, library_bytes.load());
  void* frames[kFramesMax];
  const int count = ::backtrace(frames, kFramesMax);
  for (int i = 0; i < count; ++i) line.text("frame ").hex(reinterpret_cast<std::uintptr_t>(frames[i])).end();
  line.text("maps").end();
  copy_maps(fd);
  ::close(fd);
}

/// Ends the process by this signal, as if nobody had handled it.
void die_of(int signal) {
  std::signal(signal, SIG_DFL);
  sigset_t mine;
  ::sigemptyset(&mine);
  ::sigaddset(&mine, signal);
  ::pthread_sigmask(SIG_UNBLOCK, &mine, nullptr);
  ::syscall(SYS_tgkill, ::getpid(), ::syscall(SYS_gettid), signal);
}

void on_alarm(int) { die_of(reported_signal.load()); }

void on_crash(int signal, siginfo_t* info, void* context) {
  if (::getpid() != owner) return die_of(signal);
  const auto me = static_cast<pid_t>(::syscall(SYS_gettid));
  pid_t none = 0;
  if (!reporter.compare_exchange_strong(none, me)) {
    if (none == me) return die_of(reported_signal.load());  // writing it down went wrong, too
    for (;;) ::pause();                                     // another thread was first, and ends the process
  }
  reported_signal = signal;
  struct sigaction wake {};
  wake.sa_handler = on_alarm;
  ::sigaction(SIGALRM, &wake, nullptr);
  sigset_t alarm_only;
  ::sigemptyset(&alarm_only);
  ::sigaddset(&alarm_only, SIGALRM);
  ::pthread_sigmask(SIG_UNBLOCK, &alarm_only, nullptr);
  ::alarm(kGiveUpS);
  write_crash(signal, *info, context);
  die_of(signal);
}

}  // namespace

void install_crash_handler(const std::string& rank_dir) {
  const auto path = proto::crash_path(rank_dir);
  if (rank_dir.empty() || path.size() >= sizeof crash_file) return;
  std::memcpy(crash_file, path.c_str(), path.size() + 1);
  owner = ::getpid();
  void* one[1];
  (void)::backtrace(one, 1);  // loads what unwinds: not a thing to do in a handler

  static char stack[kStackBytes];
  stack_t own{}, before{};
  if (::sigaltstack(nullptr, &before) == 0 && (before.ss_flags & SS_DISABLE) != 0) {
    own.ss_sp = stack;
    own.ss_size = sizeof stack;
    ::sigaltstack(&own, nullptr);
  }
  struct sigaction action {};
  action.sa_sigaction = on_crash;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (const int signal : kSignals) {
    struct sigaction old {};
    if (::sigaction(signal, nullptr, &old) == 0 && old.sa_handler == SIG_DFL)
      ::sigaction(signal, &action, nullptr);
  }
}

void note_training_library(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return;
  const auto line = "library " + std::to_string(info.st_ino) + " " + std::to_string(info.st_size) + " " +
                    std::to_string(info.st_mtim.tv_sec) + " " + std::to_string(info.st_mtim.tv_nsec) + " " +
                    path + "\n";
  if (line.size() > sizeof library_line) return;
  line.copy(library_line, sizeof library_line);
  library_bytes = line.size();
}

}  // namespace rtrain::runtime
