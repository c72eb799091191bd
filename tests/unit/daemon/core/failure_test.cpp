#include "daemon/core/failure.h"

#include "tests/support/catch.h"

namespace core_failure_test {

using namespace rtrain;
using namespace rtrain::core;
using proto::ExitStatus;
using proto::FailureClass;
using proto::FailureConfig;
using proto::RankError;

namespace {

ExitStatus exit_code(int code) { return {code, std::nullopt, false}; }
ExitStatus by_signal(int signal) { return {std::nullopt, signal, false}; }
const ExitStatus kLost{std::nullopt, std::nullopt, true};

Failure user_error(const std::string& message, bool before_first_step = true, bool reported = false) {
  return {{}, "exception", message, reported, before_first_step};
}
Failure infrastructure_error() {
  return {{FailureClass::kInfrastructure, false, true, {}}, "lost", "the node went away", false, true};
}
Failure never_started() {
  return {{FailureClass::kInfrastructure, true, true, {}}, "lost", "was never started", false, true};
}

FailureHistory after(int failures, int in_row = 0) {
  FailureHistory history;
  history.failures = failures;
  history.in_row = in_row;
  return history;
}

}  // namespace

TEST_CASE("failure: whose fault it is") {
  constexpr auto kUser = FailureClass::kUser;
  constexpr auto kInfra = FailureClass::kInfrastructure;
  struct Row {
    const char* name;
    RankError error;
    ExitStatus status;
    FailureClass is;
  };
  const std::vector<Row> rows{
      {"the function threw", {"exception", "loss is NaN", {}}, exit_code(1), kUser},
      {"out of GPU memory",
       {"exception", "CUDA out of memory. Tried to allocate 2 GiB", {}},
       exit_code(1),
       kUser},
      {"Gloo lost a peer",
       {"exception", "[../pair.cc:525] Connection closed by peer [10.0.0.2]:1234", {}},
       exit_code(1),
       kInfra},
      {"Gloo lost a peer, otherwise", {"exception", "Connection reset by peer", {}}, exit_code(1), kInfra},
      {"NCCL lost a peer",
       {"exception", "NCCL error: remote process exited or there was a network error", {}},
       exit_code(1),
       kInfra},
      {"c10d's store is gone",
       {"exception", "Broken pipe. This may indicate a possible application crash on rank 0", {}},
       exit_code(1),
       kInfra},
      {"memory of the GPU broke",
       {"exception", "CUDA error: uncorrectable ECC error encountered", {}},
       exit_code(1),
       kInfra},
      {"exited", {"exit", "exited with code 3", {}}, exit_code(3), kUser},
      {"exited early",
       {"exit", "exited with code 0 before the training function returned", {}},
       exit_code(0),
       kUser},
      {"does not load", {"load", "libx.so: cannot open shared object file", {}}, exit_code(1), kUser},
      {"segmentation fault", {"signal", "was killed by signal 11", {}}, by_signal(11), kUser},
      {"abort", {"signal", "was killed by signal 6", {"terminate called"}}, by_signal(6), kUser},
      {"NCCL's watchdog aborts",
       {"signal", "was killed by signal 6", {"what(): NCCL error: remote process exited"}},
       by_signal(6),
       kInfra},
      {"c10d's monitor ends the process",
       {"signal",
        "was killed by signal 6",
        {"[F ProcessGroupNCCL.cpp:1600] [Rank 1] Terminating the process after attempting to dump debug "
         "info, due to"}},
       by_signal(6),
       kInfra},
      {"killed", {"signal", "was killed by signal 9", {}}, by_signal(9), kInfra},
      {"bus error", {"signal", "was killed by signal 7", {}}, by_signal(7), kUser},
      {"broken memory", {"hardware", "was killed by signal 7: broken memory", {}}, by_signal(7), kInfra},
      {"over its memory", {"oom", "was killed by the kernel: out of memory", {}}, by_signal(9), kUser},
      {"an argument is too long",
       {"exec", "cannot start x: Argument list too long", {}},
       exit_code(127),
       kUser},
      {"terminated by somebody", {"signal", "was killed by signal 15", {}}, by_signal(15), kInfra},
      {"lost", {"lost", "its node went away", {}}, kLost, kInfra},
      {"lost without words", {"", "", {}}, kLost, kInfra},
      {"could not be spawned",
       {"spawn", "fork: Resource temporarily unavailable", {}},
       exit_code(127),
       kInfra},
      {"a folder of the agent is gone",
       {"spawn", "open /var/lib/rtrain/a/jobs/1/1/rank-1/log: No such file or directory", {}},
       exit_code(127),
       kInfra},
      {"no such program",
       {"exec", "cannot start /opt/trian: No such file or directory", {}},
       exit_code(127),
       kUser},
      {"the ranks did not meet",
       {"timeout", "the ranks did not meet within 300 s", {}},
       exit_code(1),
       kInfra},
      {"hyperparameters that nobody can train",
       {"invalid_hyperparameters", "the width is no multiple of the heads. Connection closed by peer", {}},
       exit_code(1),
       kUser},
      {"lease", {"lease", "nothing was heard of the agent for 15 s", {}}, exit_code(1), kInfra},
      {"hang", {"hang", "rank 1 stands at step 41", {}}, {}, kInfra},
      {"a kind of a newer agent", {"meltdown", "", {}}, exit_code(1), kUser},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    CHECK(classify(row.error, row.status, true).failure_class == row.is);
  }
}

TEST_CASE("failure: a node is blamed for what speaks against it, and for nothing that a job can do by itself",
          "[F29]") {
  struct Row {
    const char* name;
    RankError error;
    ExitStatus status;
    bool blamed;
  };
  const std::vector<Row> rows{
      {"SIGKILL", {"signal", "", {}}, by_signal(9), false},
      {"SIGTERM", {"signal", "", {}}, by_signal(15), false},
      {"SIGBUS", {"signal", "", {}}, by_signal(7), false},
      {"over its memory", {"oom", "", {}}, by_signal(9), false},
      {"its program cannot be run", {"exec", "", {}}, exit_code(127), false},
      {"no process can be made", {"spawn", "fork: Cannot allocate memory", {}}, exit_code(127), true},
      {"broken memory", {"hardware", "", {}}, by_signal(7), true},
      {"a GPU that cannot be used",
       {"hardware", "the GPU cuda:0 of this rank cannot be used", {}},
       exit_code(1),
       true},
      {"c10d's watchdog timed out",
       {"timeout", "Watchdog caught collective operation timeout", {}},
       exit_code(1),
       false},
      {"lost", {"lost", "", {}}, kLost, true},
      {"does not end", {"unkillable", "", {}}, kLost, true},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    CHECK(classify(row.error, row.status, true).of_node == row.blamed);
  }
}

TEST_CASE("failure: an attempt of which nothing was started is no failure of the job") {
  const RankError lost{"lost", "node a went away before the launch", {}};
  CHECK(classify(lost, kLost, false).never_started);
  CHECK_FALSE(classify(lost, kLost, true).never_started);
  CHECK_FALSE(classify({"exec", "cannot start it: No such file or directory", {}}, exit_code(127), false)
                  .never_started);
  const auto verdict = decide({0, -1, -1}, {}, never_started());
  CHECK(verdict.retry);
  CHECK_FALSE(verdict.counted);
  CHECK(verdict.reason ==
        "the attempt could not be started, which is no failure of the job (failure 1, "
        "controller_failure_limit is -1: for ever): restarted at once");
  FailureHistory once;
  once.controller_failures = 1;
  CHECK_FALSE(decide({5, -1, 1}, once, never_started()).retry);
  CHECK(decide({5, -1, 2}, once, never_started()).retry);
}

TEST_CASE("failure: max_failures 0 never, n so often, -1 for ever, whoever is to blame") {
  for (const auto& failure : {user_error("x", false), infrastructure_error()})
    for (int before = 0; before < 5; ++before) {
      CHECK_FALSE(decide({0, -1, -1}, after(before), failure).retry);
      CHECK(decide({3, -1, -1}, after(before), failure).retry == (before < 3));
      CHECK(decide({-1, -1, -1}, after(before), failure).retry);
      CHECK(decide({3, 0, 0}, after(before), failure).counted);
    }
}

TEST_CASE("failure: a verdict is a sentence") {
  CHECK(decide({0, -1, -1}, {}, user_error("x")).reason ==
        "user failure 1, max_failures is 0: not restarted");
  CHECK(decide({3, -1, -1}, after(3), user_error("x")).reason ==
        "user failure 4, max_failures is 3: not restarted");
  CHECK(decide({-1, -1, -1}, after(7, 3), infrastructure_error()).reason ==
        "infrastructure failure 8, max_failures is -1: for ever: restarted in 4 s");
  auto killed = infrastructure_error();
  killed.cause.why = "SIGKILL came from outside";
  CHECK(decide({1, -1, -1}, {}, killed).reason ==
        "infrastructure failure 1 (SIGKILL came from outside), max_failures is 1: restarted at once");
}

TEST_CASE("failure: the same user error twice running before the first step ends the job") {
  const FailureConfig forever{-1, -1, -1};
  FailureHistory history = after(1, 1);
  history.last = PastFailure{FailureClass::kUser, "exception", "no file data.bin", true};
  const auto again = decide(forever, history, user_error("no file data.bin"));
  CHECK_FALSE(again.retry);
  CHECK(again.delay_s == 0);
  CHECK(again.reason.find("the same error came twice running before the first step") != std::string::npos);
  CHECK(decide(forever, history, user_error("no file other.bin")).retry);        // another error
  CHECK(decide(forever, history, user_error("no file data.bin", false)).retry);  // it had made a step
  history.last->before_first_step = false;
  CHECK(decide(forever, history, user_error("no file data.bin")).retry);  // the last one had
  history.last = PastFailure{FailureClass::kInfrastructure, "lost", "the node went away", true};
  CHECK(decide(forever, history, infrastructure_error()).retry);  // nobody's error
  history.last.reset();
  CHECK(decide(forever, history, user_error("no file data.bin")).retry);  // the first of its kind
}

TEST_CASE("failure: hyperparameters that cannot be trained are not tried again, whatever max_failures says") {
  const Failure failure{{}, "invalid_hyperparameters", "width 7 is no multiple of 2 heads", true, false};
  for (const int max_failures : {0, 3, -1}) {
    const auto verdict = decide({max_failures, -1, -1}, {}, failure);
    CHECK_FALSE(verdict.retry);
    CHECK(verdict.counted);
    CHECK(verdict.delay_s == 0);
    CHECK(verdict.reason ==
          "user failure 1, max_failures is " +
              std::string(max_failures < 0 ? "-1: for ever" : std::to_string(max_failures)) +
              ": not restarted, the training function says that its hyperparameters cannot be trained");
  }
}

TEST_CASE("failure: back-off") {
  struct Row {
    int in_row;
    double wait_s;
  };
  for (const auto& row : std::vector<Row>{
           {0, 0}, {1, 0}, {2, 1}, {3, 2}, {4, 4}, {5, 8}, {6, 16}, {7, 32}, {8, 60}, {9, 60}, {1000, 60}}) {
    INFO(row.in_row);
    CHECK(back_off_s(row.in_row) == row.wait_s);
  }
  CHECK(decide({-1, -1, -1}, after(4, 4), user_error("x", false)).delay_s == 8);
  CHECK(decide({-1, -1, -1}, after(4, 4), user_error("x", false, true)).delay_s == 0);  // it had reported
  CHECK(decide({0, -1, -1}, after(4, 4), user_error("x", false)).delay_s == 0);
}

TEST_CASE("failure: preemptions count apart, drains and changes of size never") {
  FailureHistory history;
  history.failures = 9;
  history.preemptions = 2;
  using proto::YieldCause;
  CHECK(may_yield({0, -1, -1}, history, YieldCause::kPreempted));
  CHECK(may_yield({0, 3, -1}, history, YieldCause::kPreempted));
  CHECK_FALSE(may_yield({0, 2, -1}, history, YieldCause::kPreempted));
  CHECK(may_yield({0, 0, -1}, history, YieldCause::kDrain));
  CHECK(may_yield({0, 0, -1}, history, YieldCause::kResize));
}

}  // namespace core_failure_test
