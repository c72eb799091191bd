#include "daemon/agent/rank_outcome.h"

#include "common/os/file.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace rank_outcome_test {

using namespace rtrain;
using namespace rtrain::agent;
using proto::ExitStatus;
using proto::RankError;

namespace {

const proto::RankKey kKey{JobId(7), Attempt(2), 1};

ExitStatus exited(int code) { return {code, {}, false}; }
ExitStatus signalled(int number) { return {{}, number, false}; }
ExitStatus was_lost() { return {{}, {}, true}; }

}  // namespace

TEST_CASE("rank outcome: every way to end") {
  const RankError thrown{"exception", "loss is NaN", {}};
  struct Row {
    const char* name;
    ExitStatus status;
    bool train_func;
    std::optional<RankError> error;
    std::optional<proto::Outcome> outcome;
    const char* kind;
    const char* message;
  };
  const std::vector<Row> rows{
      {"a program that exits 0", exited(0), false, {}, {}, "", ""},
      {"a program that exits 3", exited(3), false, {}, {}, "exit", "exited with code 3"},
      {"a program that is killed", signalled(9), false, {}, {}, "signal", "was killed by signal 9 (Killed)"},
      {"a program that could not be started",
       exited(127),
       false,
       RankError{"spawn", "cannot start x: No such file or directory", {}},
       {},
       "spawn",
       "cannot start x: No such file or directory"},
      {"a program with an SDK that returned a value", exited(0), false, {}, proto::Outcome{3}, "", ""},
      {"a function that returned", exited(0), true, {}, proto::Outcome{{{"accuracy", 0.9}}}, "", ""},
      {"a function that returned nothing", exited(0), true, {}, proto::Outcome{}, "", ""},
      {"a function that threw", exited(1), true, thrown, {}, "exception", "loss is NaN"},
      {"a function that threw and was then killed",
       signalled(6),
       true,
       thrown,
       {},
       "exception",
       "loss is NaN"},
      {"a function that called exit(0)",
       exited(0),
       true,
       {},
       {},
       "exit",
       "exited with code 0 before the training function returned"},
      {"a function that called exit(5)",
       exited(5),
       true,
       {},
       {},
       "exit",
       "exited with code 5 before the training function returned"},
      {"a function that crashed",
       signalled(11),
       true,
       {},
       {},
       "signal",
       "was killed by signal 11 (Segmentation fault)"},
      {"a function that returned and then crashed",
       signalled(11),
       true,
       {},
       proto::Outcome{1},
       "signal",
       "was killed by signal 11 (Segmentation fault)"},
      {"a lost program", was_lost(), false, {}, {}, "lost", "was lost"},
      {"a lost function that had returned", was_lost(), true, {}, proto::Outcome{1}, "lost", "was lost"},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    const auto end = compose_end(kKey, row.status, row.train_func, {row.error, row.outcome, {"last line"}});
    CHECK(end.key == kKey);
    CHECK(to_string(end.status) == to_string(row.status));
    CHECK(end.error.has_value() == (row.kind[0] != '\0'));
    if (end.error) {
      CHECK(end.error->kind == row.kind);
      CHECK(end.error->message.starts_with(row.message));
      CHECK(end.error->log_tail == std::vector<std::string>{"last line"});
      CHECK(end.return_value.is_null());
    } else {
      CHECK(end.return_value == row.outcome.value_or(proto::Outcome{}).return_value);
    }
  }
}

TEST_CASE("rank outcome: who made way when it was asked to has more to do") {
  struct Row {
    const char* name;
    ExitStatus status;
    bool train_func;
    std::optional<proto::Outcome> outcome;
    bool asked, yielded;
  };
  const std::vector<Row> rows{
      {"a function that made way", exited(0), true, proto::Outcome{{}, true}, false, true},
      {"a function that was through before it heard of it", exited(0), true, proto::Outcome{}, false, false},
      {"a program that exits 0 on SIGTERM", exited(0), false, {}, true, true},
      {"a program that does not handle SIGTERM", signalled(15), false, {}, true, true},
      {"a program of 128 + 15", exited(143), false, {}, true, true},
      {"a program with an SDK that was through", exited(0), false, proto::Outcome{3}, true, false},
      {"a program that nobody asked", exited(0), false, {}, false, false},
      {"a program whose end nobody saw", was_lost(), false, {}, true, false},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    CHECK(compose_end(kKey, row.status, row.train_func, {{}, row.outcome, {}}, row.asked).yielded ==
          row.yielded);
  }
}

TEST_CASE("rank outcome: last words are read from the rank's folder") {
  test::TempDir dir;
  const std::string folder = dir.path().string();
  CHECK_FALSE(read_last_words(folder).error.has_value());
  CHECK_FALSE(read_last_words(folder).outcome.has_value());
  CHECK(read_last_words(folder).log_tail.empty());

  REQUIRE(proto::write_error(folder, {"exception", "boom", {}}).has_value());
  REQUIRE(proto::write_outcome(folder, {{{"x", 1}}, true}).has_value());
  std::string log;
  for (int line = 1; line <= 30; ++line) log += "line " + std::to_string(line) + "\n";
  REQUIRE(os::write_file_atomic(proto::log_path(folder), log + "torn").has_value());
  const auto words = read_last_words(folder);
  CHECK(words.error->message == "boom");
  CHECK(words.outcome->return_value["x"] == 1);
  CHECK(words.outcome->yielded);
  REQUIRE(words.log_tail.size() == 20);
  CHECK(words.log_tail.front() == "line 12");
  CHECK(words.log_tail.back() == "torn");
}

TEST_CASE("rank outcome: a torn record is no word at all") {
  test::TempDir dir;
  const std::string folder = dir.path().string();
  REQUIRE(os::write_file_atomic(folder + "/error.json", "{\"kind\": \"exc").has_value());
  REQUIRE(os::write_file_atomic(folder + "/outcome.json", "[]").has_value());
  const auto words = read_last_words(folder);
  CHECK_FALSE(words.error.has_value());
  CHECK_FALSE(words.outcome.has_value());
}

TEST_CASE("rank outcome: a return value that cannot be read is told with the reason", "[F22]") {
  test::TempDir dir;
  const std::string folder = dir.path().string();
  REQUIRE(proto::write_outcome(folder, {std::string(1u << 20, 'x'), false})
              .has_value());  // as much as a rank may return
  CHECK(read_last_words(folder).outcome.has_value());
  CHECK(read_last_words(folder).unreadable.empty());
  REQUIRE(proto::write_outcome(folder, {std::string(5u << 20, 'x'), false}).has_value());
  const auto end = compose_end(kKey, exited(0), true, read_last_words(folder));
  REQUIRE(end.error.has_value());
  CHECK(end.error->message == "exited with code 0, and what its training function returned cannot be read: " +
                                  folder + "/outcome.json: larger than 3145728 bytes");
}

TEST_CASE("rank outcome: at a crash the last lines are those before the stack", "[F34]") {
  const auto end = compose_end(
      kKey, signalled(11), true,
      {RankError{"signal", "was killed by signal 11 in f()", {"epoch 3"}}, {}, {"rtrain:   #0 f()"}});
  CHECK(end.error->log_tail == std::vector<std::string>{"epoch 3"});
  CHECK(end.error->message == "was killed by signal 11 in f()");
}

}  // namespace rank_outcome_test
