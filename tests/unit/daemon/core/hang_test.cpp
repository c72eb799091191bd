#include "daemon/core/hang.h"

#include "proto/record/places.h"
#include "tests/support/catch.h"

#include <numeric>

namespace hang_test {

using namespace rtrain;
using namespace rtrain::core;
using proto::RankDiagnosis;

namespace {

std::vector<int> ranks(int count) {
  std::vector<int> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

RankDiagnosis outside(std::int64_t step, std::int64_t last = 0, std::int64_t epoch = 0) {
  return {{}, "train", epoch, step, 31, last > 0 ? "allreduce" : "", last, false};
}
RankDiagnosis waits(std::int64_t step, std::int64_t seq, double silent_s = 30,
                    const char* what = "allreduce") {
  return {{}, "train", 0, step, silent_s, what, seq, true};
}

}  // namespace

TEST_CASE("hang: the rank that others wait for comes first and is named") {
  const auto report = explain_hang(ranks(2), {{0, waits(41, 83)}, {1, outside(41, 82)}});
  CHECK(report.message ==
        "rank 1 stands at step 41 outside any collective, the last was allreduce #82; rank 0 waits in "
        "allreduce #83 for 30 s, after step 41");
  CHECK(report.culprit == 1);
}

TEST_CASE("hang: a rank that says nothing is the first to be suspected") {
  const auto report = explain_hang(ranks(3), {{0, waits(41, 83)}, {2, waits(41, 83, 32.4)}});
  CHECK(report.message == "rank 1 says nothing; ranks 0, 2 wait in allreduce #83 for 32 s, after step 41");
  CHECK(report.culprit == 1);
}

TEST_CASE("hang: ranks in different collectives are told apart, the one behind first") {
  const auto report = explain_hang(
      ranks(4),
      {{0, waits(9, 21)}, {1, waits(9, 21)}, {2, waits(9, 20, 30, "broadcast")}, {3, waits(9, 21)}});
  CHECK(report.message ==
        "rank 2 waits in broadcast #20 for 30 s, after step 9; ranks 0, 1, 3 wait in allreduce #21 for 30 s, "
        "after step 9");
  CHECK(report.culprit == 2);
}

TEST_CASE("hang: all in the same collective is nobody's fault") {
  const auto report = explain_hang(ranks(8), {{0, waits(5, 7)},
                                              {1, waits(5, 7)},
                                              {2, waits(5, 7)},
                                              {3, waits(5, 7)},
                                              {4, waits(5, 7)},
                                              {5, waits(5, 7)},
                                              {6, waits(5, 7)},
                                              {7, waits(5, 7)}});
  CHECK(report.message == "ranks 0-7 wait in allreduce #7 for 30 s, after step 5");
  CHECK_FALSE(report.culprit.has_value());
}

TEST_CASE("hang: epochs, stages and a start that never came") {
  CHECK(explain_hang(ranks(1), {{0, outside(3, 0, 2)}}).message ==
        "rank 0 stands at step 3 of epoch 2 outside any collective");
  CHECK(explain_hang(ranks(1), {{0, outside(3)}}).culprit == 0);
  RankDiagnosis validating = outside(4);
  validating.stage = "validate";
  CHECK(explain_hang(ranks(1), {{0, validating}}).message ==
        "rank 0 stands at step 4 (validate) outside any collective");
  CHECK(explain_hang(ranks(2), {{0, RankDiagnosis{}}, {1, RankDiagnosis{}}}).message ==
        "ranks 0, 1 stand before the first step outside any collective");
}

TEST_CASE("hang: a thousand ranks make no thousand words") {
  std::map<int, RankDiagnosis> words;
  for (int rank = 0; rank < 1000; ++rank) words[rank] = outside(rank);
  CHECK(explain_hang(ranks(1000), words).message.size() < 1000);
}

TEST_CASE("hang: ranks that have ended are not asked for") {
  CHECK(explain_hang({1}, {{1, outside(7)}}).message == "rank 1 stands at step 7 outside any collective");
  CHECK(explain_hang({}, {}).message.empty());
}

TEST_CASE("hang: report() is a place where ranks wait for each other", "[F16]") {
  const auto in_report = [](std::int64_t n, std::int64_t step) {
    return waits(step, n, 30, proto::kReportAsPlace);
  };
  auto report = explain_hang(ranks(2), {{0, in_report(3, 41)}, {1, outside(41, 82)}});
  CHECK(report.message ==
        "rank 1 stands at step 41 outside any collective, the last was allreduce #82; rank 0 waits in "
        "report() number 3 with a checkpoint for 30 s, after step 41");
  CHECK(report.culprit == 1);
  report = explain_hang(
      ranks(2), {{0, in_report(3, 41)}, {1, waits(41, 82)}});  // counted apart: neither is behind the other
  CHECK(report.message ==
        "rank 0 waits in report() number 3 with a checkpoint for 30 s, after step 41; rank 1 waits in "
        "allreduce #82 for 30 s, after step 41");
  CHECK_FALSE(report.culprit.has_value());
  CHECK(explain_hang(ranks(3), {{0, in_report(4, 9)}, {1, in_report(3, 9)}, {2, in_report(4, 9)}}).culprit ==
        1);
}

TEST_CASE("hang: a library that does not come to an end of loading", "[F07]") {
  RankDiagnosis loading;
  loading.stage = proto::kLoadStage;
  const auto report = explain_hang(ranks(2), {{0, waits(0, 1)}, {1, loading}});
  CHECK(report.message ==
        "rank 1 loads its training library; rank 0 waits in allreduce #1 for 30 s, after step 0");
  CHECK(report.culprit == 1);
}

}  // namespace hang_test
