#include "worker/comm/sliced_wait.h"

#include "tests/support/catch.h"

#include <torch/csrc/distributed/c10d/Work.hpp>

#include <stdexcept>
#include <vector>

namespace sliced_wait_test {
namespace {

using rtrain::comm::wait_in_slices;
using std::chrono::milliseconds;

/// Ends in the moment in which the n-th slice is over, so that the wait has timed out and the work is
/// complete.
class EndsWithSlice final : public c10d::Work {
 public:
  EndsWithSlice(int slices, std::string error) : left_(slices), error_(std::move(error)) {}
  bool isCompleted() override { return left_ == 0; }
  bool wait(milliseconds limit) override {
    waits.push_back(limit);
    if (left_ > 0) {
      --left_;
      throw std::runtime_error("Operation timed out!");
    }
    if (!error_.empty()) throw std::runtime_error(error_);
    return true;
  }
  std::vector<milliseconds> waits;

 private:
  int left_;
  std::string error_;
};

}  // namespace

TEST_CASE("wait_in_slices: a work that ends with a slice ended well") {
  EndsWithSlice work(3, "");
  int looks = 0;
  CHECK(wait_in_slices(work, milliseconds(60'000), milliseconds(1000), [&] { ++looks; }));
  CHECK(looks == 2);
  REQUIRE(work.waits.size() == 4);
  CHECK(work.waits[0] == milliseconds(1000));
  CHECK(work.waits[1] == milliseconds(2000));
  CHECK(work.waits[2] == milliseconds(4000));
}

TEST_CASE("wait_in_slices: what a work that failed says itself counts") {
  EndsWithSlice work(1, "Connection reset by peer");
  CHECK_THROWS_WITH(wait_in_slices(work, milliseconds(60'000), milliseconds(1000), [] {}),
                    "Connection reset by peer");
}

TEST_CASE("wait_in_slices: the limit ends the wait, and a look may") {
  EndsWithSlice late(1'000'000, "");
  CHECK_FALSE(wait_in_slices(late, milliseconds(0), milliseconds(1000), [] {}));
  CHECK(late.waits.at(0) == milliseconds(1));
  EndsWithSlice stopped(1'000'000, "");
  CHECK_THROWS_WITH(wait_in_slices(stopped, milliseconds(60'000), milliseconds(1),
                                   [] { throw std::runtime_error("absent"); }),
                    "absent");
}

}  // namespace sliced_wait_test
