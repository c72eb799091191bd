#include "cli/doctor_libtorch.h"

#include "tests/support/catch.h"

#include <csignal>

namespace doctor_libtorch_test {

using namespace rtrain;
using namespace rtrain::cli;
using proto::Check;
using How = ChildEnd::How;

TEST_CASE("doctor: a worker's line that is no check is not read") {
  for (const char* line : {"", "{", "{}", R"({"name":3})", "[]", "null",
                           R"({"name":"a","status":"ok","detail":"","hint":"","figures":[]})",
                           R"({"name":"","status":"ok","detail":"","hint":"","figures":{}})"}) {
    INFO(line);
    CHECK_FALSE(read_check(line));
  }
  const auto check =
      read_check(R"({"name":"a","status":"ok","detail":"","hint":"","figures":{"cuda":13000,"gpus":"two"}})");
  REQUIRE(check);
  CHECK(whole_figure(*check, "cuda", 0) == 13000);
  CHECK(whole_figure(*check, "gpus", 0) == 0);
  CHECK(whole_figure(*check, "none", 7) == 7);
}

TEST_CASE("doctor libtorch: each end of the worker has its own way out") {
  struct Row {
    const char* name;
    ChildEnd end;
    std::string line, detail, hint;  // parts of them
  };
  const std::vector<Row> rows{
      {"no LibTorch",
       {How::kExited, 78, 0, "ended with exit code 78"},
       "rtrain-worker: no LibTorch: x",
       "rtrain-worker: no LibTorch: x",
       "run without it"},
      {"damaged",
       {How::kExited, 127, 0, "ended with exit code 127"},
       "w: error while loading shared libraries: /t/libtorch_cpu.so: file too short",
       "/t/libtorch_cpu.so: file too short",
       "missing or damaged"},
      {"no addresses",
       {How::kExited, 127, 0, "ended with exit code 127"},
       "w: error while loading shared libraries: libtorch_cuda.so: failed to map segment from shared object",
       "failed to map",
       "ulimit -v unlimited"},
      {"no program",
       {How::kExited, 127, 0, "ended with exit code 127"},
       "/w: No such file or directory",
       "/w: No such file or directory",
       "--worker names one"},
      {"cut off",
       {How::kKilled, 0, SIGBUS, "was killed by SIGBUS"},
       "",
       "/w was killed by SIGBUS",
       "install LibTorch again"},
      {"another processor", {How::kKilled, 0, SIGILL, "was killed by SIGILL"}, "", "SIGILL", "another build"},
      {"no memory", {How::kKilled, 0, SIGKILL, "was killed by SIGKILL"}, "", "SIGKILL", "dmesg"},
      {"crashed", {How::kKilled, 0, SIGSEGV, "was killed by SIGSEGV"}, "", "SIGSEGV", "/w --probe"},
      {"late", {How::kLate, 0, 0, "did not end within 60 s"}, "", "did not end within 60 s", "--timeout"},
      {"not started",
       {How::kNotStarted, 0, 0, "cannot be started: Too many open files"},
       "",
       "/w cannot be started: Too many open files",
       "ulimit -n"},
      {"failed",
       {How::kExited, 1, 0, "ended with exit code 1"},
       "libgomp: Thread creation failed",
       "ended with exit code 1: libgomp: Thread creation failed",
       "/w --probe"},
      {"silent", {}, "", "ended without an answer", "--worker names one"},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    ProbeAnswer answer;
    answer.end = row.end;
    answer.other_line = row.line;
    const auto check = judge_probe(answer, "/w");
    REQUIRE(check);
    CHECK(check->health == proto::Health::kFailure);
    CHECK(check->detail.find(row.detail) != std::string::npos);
    CHECK(check->hint.find(row.hint) != std::string::npos);
  }
}

TEST_CASE("doctor libtorch: a whole answer is no failure, half of one names how far it came") {
  ProbeAnswer answer;
  answer.is_whole = true;
  answer.last_check = "gpus of libtorch";
  CHECK_FALSE(judge_probe(answer, "/w"));
  answer.is_whole = false;
  answer.last_check = "cpu";
  CHECK(judge_probe(answer, "/w")->detail == "rtrain-worker ended before its last answer (/w) (after cpu)");
}

}  // namespace doctor_libtorch_test
