#include "worker/parallel/pipeline_schedule.h"

#include "tests/support/catch.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace pipeline_schedule_test {

using namespace rtrain::parallel;
using Catch::Matchers::Contains;
using Kind = PipelineAction::Kind;

namespace {

using Message = std::pair<std::int64_t, double>;  ///< micro-batch, when it was sent
struct Outcome {
  bool finished = true;
  double time = 0;                 ///< of the last rank
  std::vector<std::size_t> peaks;  ///< by rank: forwards without their backward
};

/// Ranks that run their actions with receives that block, and buffers of so many messages for each direction
/// of each edge. A forward takes 1 / stages_a_rank, a backward twice that, a message nothing.
class Simulation {
 public:
  Simulation(ScheduleKind kind, const PipelineShape& shape, std::size_t capacity)
      : shape_(shape), capacity_(capacity) {
    for (int rank = 0; rank < shape.ranks; ++rank) actions_.push_back(pipeline_schedule(kind, shape, rank));
  }

  Outcome run() {
    const auto ranks = static_cast<std::size_t>(shape_.ranks);
    clocks_.assign(ranks, 0);
    alive_.assign(ranks, {});
    outcome_.peaks.assign(ranks, 0);
    std::vector<std::size_t> next(ranks, 0);
    bool moved = true;
    while (std::exchange(moved, false))
      for (std::size_t rank = 0; rank < ranks; ++rank)
        while (next[rank] < actions_[rank].size() && act(rank, actions_[rank][next[rank]])) {
          ++next[rank];
          moved = true;
        }
    for (std::size_t rank = 0; rank < ranks; ++rank)
      outcome_.finished = outcome_.finished && next[rank] == actions_[rank].size();
    for (const auto& [edge, messages] : up_) CHECK(messages.empty());
    for (const auto& [edge, messages] : down_) CHECK(messages.empty());
    outcome_.time = *std::max_element(clocks_.begin(), clocks_.end());
    return outcome_;
  }

 private:
  using Way = std::map<int, std::deque<Message>>;

  /// @return false: it has to wait.
  bool act(std::size_t rank, const PipelineAction& action) {
    CHECK(action.stage % shape_.ranks == static_cast<int>(rank));
    const std::pair key{action.stage, action.micro_batch};
    switch (action.kind) {
      case Kind::kReceiveActivation: return receive(rank, up_[action.stage - 1], action, arrived_);
      case Kind::kReceiveGradient: return receive(rank, down_[action.stage], action, gradients_);
      case Kind::kSendActivation: return send(rank, up_[action.stage], action, forwards_);
      case Kind::kSendGradient: return send(rank, down_[action.stage - 1], action, backwards_);
      case Kind::kForward:
        CHECK((action.stage == 0 || arrived_.contains(key)));
        CHECK(forwards_.insert(key).second);
        clocks_[rank] += 1.0 / shape_.stages_a_rank;
        alive_[rank].insert(key);
        outcome_.peaks[rank] = std::max(outcome_.peaks[rank], alive_[rank].size());
        return true;
      case Kind::kBackward:
        CHECK((action.stage + 1 == shape_.stages() || gradients_.contains(key)));
        CHECK(forwards_.contains(key));
        CHECK(backwards_.insert(key).second);
        clocks_[rank] += 2.0 / shape_.stages_a_rank;
        alive_[rank].erase(key);
        return true;
    }
    return false;
  }
  bool receive(std::size_t rank, std::deque<Message>& way, const PipelineAction& action,
               std::set<std::pair<int, std::int64_t>>& got) {
    if (way.empty()) return false;
    CHECK(way.front().first == action.micro_batch);  // in the order in which they were sent
    clocks_[rank] = std::max(clocks_[rank], way.front().second);
    way.pop_front();
    CHECK(got.insert({action.stage, action.micro_batch}).second);
    return true;
  }
  bool send(std::size_t rank, std::deque<Message>& way, const PipelineAction& action,
            const std::set<std::pair<int, std::int64_t>>& computed) {
    if (way.size() >= capacity_) return false;
    CHECK(computed.contains({action.stage, action.micro_batch}));
    way.emplace_back(action.micro_batch, clocks_[rank]);
    return true;
  }

  PipelineShape shape_;
  std::size_t capacity_;
  std::vector<std::vector<PipelineAction>> actions_;
  std::vector<double> clocks_;
  std::vector<std::set<std::pair<int, std::int64_t>>> alive_;
  std::set<std::pair<int, std::int64_t>> arrived_, gradients_, forwards_, backwards_;
  Way up_, down_;  ///< by edge: between that stage and the next
  Outcome outcome_;
};

struct Case {
  ScheduleKind kind;
  PipelineShape shape;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (int ranks = 1; ranks <= 5; ++ranks)
    for (std::int64_t micro_batches = 1; micro_batches <= 12; ++micro_batches) {
      all.push_back({ScheduleKind::kGPipe, {ranks, 1, micro_batches}});
      all.push_back({ScheduleKind::k1F1B, {ranks, 1, micro_batches}});
      for (int own = 2; own <= 4 && micro_batches % ranks == 0; ++own)
        all.push_back({ScheduleKind::kInterleaved, {ranks, own, micro_batches}});
    }
  return all;
}

std::string words(const Case& one) {
  return "schedule " + std::to_string(static_cast<int>(one.kind)) + ", " + std::to_string(one.shape.ranks) +
         " ranks, " + std::to_string(one.shape.stages_a_rank) + " stages each, " +
         std::to_string(one.shape.micro_batches) + " micro-batches";
}

}  // namespace

TEST_CASE("pipeline schedule: each micro-batch goes through each stage once, forward and backward",
          "[unit][parallel]") {
  for (const auto& one : cases()) {
    INFO(words(one));
    std::map<std::pair<int, std::int64_t>, std::map<Kind, int>> seen;
    for (int rank = 0; rank < one.shape.ranks; ++rank)
      for (const auto& action : pipeline_schedule(one.kind, one.shape, rank)) {
        CHECK(action.stage % one.shape.ranks == rank);
        ++seen[{action.stage, action.micro_batch}][action.kind];
      }
    CHECK(seen.size() == static_cast<std::size_t>(one.shape.stages() * one.shape.micro_batches));
    for (auto& [key, kinds] : seen) {
      const int below = key.first > 0 ? 1 : 0, above = key.first + 1 < one.shape.stages() ? 1 : 0;
      CHECK(kinds[Kind::kForward] == 1);
      CHECK(kinds[Kind::kBackward] == 1);
      CHECK(kinds[Kind::kReceiveActivation] == below);
      CHECK(kinds[Kind::kSendGradient] == below);
      CHECK(kinds[Kind::kSendActivation] == above);
      CHECK(kinds[Kind::kReceiveGradient] == above);
    }
  }
}

TEST_CASE("pipeline schedule: ranks with buffers of one message come to an end", "[unit][parallel]") {
  for (const auto& one : cases()) {
    if (one.kind == ScheduleKind::kGPipe) continue;  // its first gradients are behind all activations
    INFO(words(one));
    for (const std::size_t capacity : {std::size_t{1}, std::size_t{2}, std::size_t{1000}})
      CHECK(Simulation(one.kind, one.shape, capacity).run().finished);
  }
}

TEST_CASE("pipeline schedule: as many activations live as the formulas say", "[unit][parallel]") {
  for (const auto& one : cases()) {
    INFO(words(one));
    const auto outcome = Simulation(one.kind, one.shape, 1000).run();
    REQUIRE(outcome.finished);
    const auto all = one.shape.micro_batches * one.shape.stages_a_rank;
    for (int rank = 0; rank < one.shape.ranks; ++rank) {
      const std::int64_t behind = one.shape.ranks - 1 - rank;
      const auto most = one.kind == ScheduleKind::kGPipe ? all
                        : one.kind == ScheduleKind::k1F1B
                            ? behind + 1
                            : 2 * behind + (one.shape.stages_a_rank - 1) * one.shape.ranks + 1;
      CHECK(outcome.peaks[static_cast<std::size_t>(rank)] == static_cast<std::size_t>(std::min(all, most)));
    }
  }
}

TEST_CASE("pipeline schedule: the wait is (ranks - 1) / micro-batches, divided by the stages a rank",
          "[unit][parallel]") {
  for (const auto& one : cases()) {
    if (one.shape.micro_batches < one.shape.ranks) continue;
    INFO(words(one));
    const auto work = 3.0 * static_cast<double>(one.shape.micro_batches);
    const auto wait = Simulation(one.kind, one.shape, 1000).run().time - work;
    CHECK(wait / work == Approx((one.shape.ranks - 1.0) / static_cast<double>(one.shape.micro_batches) /
                                one.shape.stages_a_rank)
                             .margin(1e-9));
  }
}

TEST_CASE("pipeline schedule: a forward goes through all stages", "[unit][parallel]") {
  const std::vector<PipelineAction> expected{{Kind::kReceiveActivation, 1, 0},
                                             {Kind::kForward, 1, 0},
                                             {Kind::kSendActivation, 1, 0},
                                             {Kind::kReceiveActivation, 3, 0},
                                             {Kind::kForward, 3, 0}};
  const bool as_expected = pipeline_forward({2, 2, 4}, 1) == expected;
  CHECK(as_expected);
}

TEST_CASE("pipeline schedule: what fits no schedule", "[unit][parallel]") {
  CHECK_THROWS_WITH(pipeline_schedule(ScheduleKind::kInterleaved, {4, 2, 6}, 0),
                    Contains("num_microbatches is 6") && Contains("a multiple of the 4 ranks"));
  CHECK_THROWS_WITH(pipeline_schedule(ScheduleKind::k1F1B, {2, 2, 4}, 0), Contains("interleaved"));
  CHECK_THROWS_WITH(pipeline_schedule(ScheduleKind::k1F1B, {2, 1, 4}, 2), Contains("a rank of them, not 2"));
  CHECK_THROWS_WITH(schedule_kind("1b1f"), Contains("schedule is \"1b1f\", expected \"1f1b\""));
  CHECK(schedule_kind("interleaved") == ScheduleKind::kInterleaved);
}

TEST_CASE("pipeline stages: the most expensive one costs as little as possible", "[unit][parallel]") {
  using Cuts = std::vector<std::size_t>;
  CHECK(cut_into_stages({1, 1, 1, 1}, 2) == Cuts{0, 2, 4});
  CHECK(cut_into_stages({0, 1, 1, 1, 1, 1}, 2) == Cuts{0, 3, 6});  // 2 and 3
  CHECK(cut_into_stages({0, 1, 1, 1, 1, 2}, 3) == Cuts{0, 3, 5, 6});
  CHECK(cut_into_stages({5, 1, 1, 1}, 2) == Cuts{0, 1, 4});
  CHECK(cut_into_stages({0, 0, 0}, 3) == Cuts{0, 1, 2, 3});
  CHECK(cut_into_stages({3}, 1) == Cuts{0, 1});
  CHECK_THROWS_WITH(cut_into_stages({1, 1}, 3), Contains("2 layers cannot be cut into 3 stages"));
}

}  // namespace pipeline_schedule_test
