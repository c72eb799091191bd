#include "worker/supervision/crash_report.h"

#include "worker/supervision/oom.h"

#include "common/os/file.h"
#include "proto/record/rank_files.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <csignal>
#include <fstream>

namespace crash_report_test {

using namespace rtrain;
using namespace rtrain::supervision;

namespace {

const std::string kText =
    "signal 11\ncode 1\naddress 0x10\nthread 4711\npc 0x7f0000001234\nsp 0x7ffc00000000\nlibrary 77 5000 "
    "1700000000 5 /home/ann/my libs/libnet.so\n"
    "frame 0x7f0000900010\nframe 0x7f0000a00020\nframe 0x7f0000001234\nframe 0x7f0000001500\nframe "
    "0x7f0000b00000\nmaps\n"
    "7f0000000000-7f0000002000 r-xp 00001000 08:01 77     /home/ann/my libs/libnet.so\n"
    "7f0000b00000-7f0000c00000 r-xp 00000000 08:01 78                         /usr/lib/librtrain.so\n"
    "7ffc00000000-7ffc00001000 rw-p 00000000 00:00 0\n";

StackFrame frame(const std::string& module, const std::string& function) {
  return {0x1000, module, 0x12f4, function, 4};
}

std::optional<FileNow> as_it_was(const std::string&) { return FileNow{77, 5000, 1700000000, 5}; }
std::optional<FileNow> shorter(const std::string&) { return FileNow{77, 4096, 1700000001, 0}; }
std::optional<FileNow> replaced(const std::string&) { return FileNow{99, 4096, 1700000001, 0}; }
std::optional<FileNow> gone(const std::string&) { return std::nullopt; }

Crash crash_by(int signal, int code, std::uint64_t address) {
  auto crash = parse_crash(kText).value();
  crash.signal = signal;
  crash.code = code;
  crash.address = address;
  crash.library.reset();
  return crash;
}

}  // namespace

TEST_CASE("crash: what the handler wrote is read back", "[F34]") {
  const auto crash = parse_crash(kText).value();
  CHECK(crash.signal == 11);
  CHECK(crash.address == 0x10);
  CHECK(crash.thread == 4711);
  CHECK(crash.frames.size() == 5);
  REQUIRE(crash.library.has_value());
  CHECK(crash.library->path == "/home/ann/my libs/libnet.so");
  REQUIRE(crash.maps.size() == 3);
  CHECK(crash.maps[0].path == "/home/ann/my libs/libnet.so");
  CHECK(crash.maps[0].offset == 0x1000);
  CHECK_FALSE(parse_crash("").has_value());
  CHECK(parse_crash("signal 11\nframe 0x").has_value());  // cut off while it was written
}

TEST_CASE("crash: the stack begins at the place, without the handler", "[F34]") {
  const auto stack = stack_of(parse_crash(kText).value());
  REQUIRE(stack.size() == 3);
  CHECK(stack[0].pc == 0x7f0000001234);
  CHECK(stack[0].module == "/home/ann/my libs/libnet.so");
  CHECK(stack[0].offset == 0x2234);
  CHECK(stack[2].module == "/usr/lib/librtrain.so");
}

TEST_CASE("crash: the error names the user's functions first", "[F34]") {
  const std::vector<StackFrame> stack{frame("/x/libtorch_cpu.so", "at::matmul()"),
                                      frame("/x/libnet.so", "std::function<void ()>::operator()() const"),
                                      frame("/x/libnet.so", "Net::forward(at::Tensor)"),
                                      frame("/x/librtrain.so", "rtrain::fit()"),
                                      frame("/x/libnet.so", "train(rtrain::Config const&)")};
  const auto error = explain_crash(crash_by(SIGSEGV, 1, 0x10), stack, as_it_was);
  CHECK(error.kind == "signal");
  CHECK(error.message ==
        "was killed by signal 11 (Segmentation fault) at address 0x10, below Net::forward(at::Tensor) "
        "(libnet.so + 0x12f4), called from train(rtrain::Config const&) (libnet.so + 0x12f4)");
  CHECK(explain_crash(crash_by(SIGABRT, -6, 0), {frame("/x/prog", "main")}, as_it_was).message ==
        "was killed by signal 6 (Aborted) in main (prog + 0x12f4)");
  CHECK(explain_crash(crash_by(SIGFPE, FPE_INTDIV, 0), {}, as_it_was).message ==
        "was killed by signal 8 (Floating point exception) (integer division by zero)");
  const auto text = stack_text(crash_by(SIGSEGV, 1, 0x10), stack);
  CHECK(
      text.starts_with("rtrain: the rank was killed by signal 11 (Segmentation fault); thread 4711:\nrtrain: "
                       "  #0 at::matmul() + 0x4 in /x/libtorch_cpu.so + 0x12f4\n"));
}

TEST_CASE("crash: a stack that is used up is told", "[F34]") {
  auto crash = crash_by(SIGSEGV, 1, 0x7ffc00000000 - 16);
  CHECK(explain_crash(crash, {frame("/x/libnet.so", "deep(int)")}, as_it_was)
            .message.starts_with(
                "was killed by signal 11 (Segmentation fault): the stack of the thread is used up"));
}

TEST_CASE("crash: a file that became shorter than what was mapped of it", "[F28]") {
  const auto in_library = 0x7f0000000000 + 0x100;  // byte 0x1100 of the file
  CHECK(explain_crash(crash_by(SIGBUS, BUS_ADRERR, in_library), {}, shorter).message ==
        "was killed by signal 7 (Bus error) at address 0x7f0000000100, where /home/ann/my libs/libnet.so is "
        "mapped: the file has only 4096 bytes and byte 4352 of it was used; the file is truncated (an "
        "incomplete copy), or was shortened while it was in use");
  CHECK(explain_crash(crash_by(SIGBUS, BUS_ADRERR, in_library), {}, gone)
            .message.ends_with("was mapped, which is gone"));
  CHECK(explain_crash(crash_by(SIGBUS, BUS_ADRERR, in_library), {}, as_it_was)
            .message.ends_with("reading from or writing to the disk failed"));
  const auto broken = explain_crash(crash_by(SIGBUS, BUS_MCEERR_AR, in_library), {}, as_it_was);
  CHECK(broken.kind == "hardware");
}

TEST_CASE("crash: a library that was written to while it was in use", "[F28]") {
  auto crash = parse_crash(kText).value();
  const auto words =
      "; the training library /home/ann/my libs/libnet.so was written to while it was in use (5000 bytes "
      "when it was loaded, 4096 now)";
  CHECK(explain_crash(crash, {}, shorter).message.find(words) != std::string::npos);
  CHECK(explain_crash(crash, {}, as_it_was).message.find("written to") == std::string::npos);
  CHECK(explain_crash(crash, {}, replaced).message.find("written to") ==
        std::string::npos);  // a rename: the old one is whole
}

TEST_CASE("crash: the report goes to error.json and to the log, and takes no other's place", "[F34]") {
  const test::TempDir dir;
  const auto folder = dir.path().string();
  report_crash(folder);
  CHECK_FALSE(proto::read_error(folder).has_value());
  std::ofstream(dir / "log") << "epoch 3\n";
  std::ofstream(dir / "crash") << kText;
  report_crash(folder);
  const auto error = proto::read_error(folder).value();
  CHECK(error.kind == "signal");
  CHECK(error.log_tail == std::vector<std::string>{"epoch 3"});
  CHECK(os::read_file(folder + "/log")
            .value()
            .starts_with("epoch 3\nrtrain: the rank was killed by signal 11"));
  REQUIRE(proto::write_error(folder, {"lease", "first", {}}).has_value());
  report_crash(folder);
  CHECK(proto::read_error(folder)->message == "first");
}

TEST_CASE("oom: limit and peak are named where the group has them", "[F29]") {
  CHECK(oom_words("/g", {1, 1u << 30, 1u << 30}) ==
        "was killed by the kernel: out of memory: the limit of /g is 1.0 GiB, its peak was 1.0 GiB");
  CHECK(oom_words("/g", {1, {}, 4096}) ==
        "was killed by the kernel: out of memory: the machine has none left, or a group above /g has reached "
        "its limit, its peak was 4.0 KiB");
}

}  // namespace crash_report_test
