#include "tests/support/catch.h"
#include "tests/support/fake_ranks.h"

namespace communicator_test {

using namespace rtrain;
using rtrain::test::run_fake_ranks;

TEST_CASE("communicator: alone, every call returns at once", "[unit][comm]") {
  const auto alone = Communicator::alone();
  auto tensor = torch::arange(4.0);
  alone->all_reduce(tensor, Communicator::Op::kMean);
  alone->broadcast(tensor);
  alone->barrier();
  alone->meet("here");
  CHECK(torch::equal(tensor, torch::arange(4.0)));
  CHECK(torch::equal(alone->all_gather(tensor).at(0), tensor));
  CHECK(alone->broadcast_text("words", 0, torch::kCPU) == "words");
  auto gathered = torch::zeros({4});
  alone->start_all_gather(gathered, tensor).wait();
  CHECK(torch::equal(gathered, tensor));
  CHECK(alone->subgroup({0}, "part")->is_alone());
  CHECK(alone->subgroup({}, "nobody") == nullptr);
  CHECK_THROWS_WITH(alone->broadcast(tensor, 1), "broadcast: root is 1, expected a rank from 0 to 0");
  CHECK_THROWS_WITH(alone->start_send(tensor, 0), Catch::Contains("no other rank"));
}

TEST_CASE("communicator: strided tensors and texts of any length travel", "[unit][comm]") {
  run_fake_ranks(3, [](std::shared_ptr<Communicator> ranks) {
    const auto check = [](bool holds, const char* what) {
      if (!holds) throw std::runtime_error(what);
    };
    auto strided = torch::full({4, 3}, ranks->rank() + 1.0).t();
    ranks->all_reduce(strided);
    check(strided.eq(6).all().item<bool>() && !strided.is_contiguous(), "strided sum");
    check(ranks->broadcast_text(ranks->rank() == 1 ? std::string(5000, 'x') : "", 1, torch::kCPU).size() ==
              5000,
          "text");
    check(ranks->broadcast_text("", 2, torch::kCPU).empty(), "empty text");
    const auto rows = ranks->all_gather(torch::tensor({ranks->rank(), 7}));
    check(rows.size() == 3 && rows[2].equal(torch::tensor({2, 7})), "gather");
  });
}

TEST_CASE("communicator: work that was started is done when it was waited for", "[unit][comm]") {
  run_fake_ranks(2, [](std::shared_ptr<Communicator> ranks) {
    auto first = torch::full({2}, 1.0 + ranks->rank()), second = torch::full({2}, 10.0);
    auto a = ranks->start_all_reduce(first);
    auto b = ranks->start_all_reduce(second, Communicator::Op::kMean);
    b.wait();
    a.wait();
    a.wait();  // again: nothing
    if (!first.eq(3).all().item<bool>() || !second.eq(10).all().item<bool>() || !a.is_done())
      throw std::runtime_error("values");
  });
}

}  // namespace communicator_test
