#include "worker/parallel/ring_schedule.h"

#include "tests/support/catch.h"

#include <set>
#include <utility>

namespace ring_schedule_test {

using namespace rtrain::parallel;

namespace {

/// The positions of a rank, in its order; `length` of them.
std::vector<std::int64_t> positions(int rank, int ranks, std::int64_t length, SequenceOrder order) {
  const auto chunks = chunks_of(rank, ranks, order);
  const auto size = length / static_cast<std::int64_t>(chunks.own.size());
  std::vector<std::int64_t> all;
  for (const int chunk : chunks.own)
    for (std::int64_t i = 0; i < size; ++i) all.push_back(chunk * size + i);
  return all;
}

}  // namespace

TEST_CASE("ring schedule: each query meets exactly the keys it may see, once", "[unit][parallel]") {
  for (const auto order : {SequenceOrder::kZigzag, SequenceOrder::kContiguous})
    for (const bool causal : {false, true})
      for (int ranks = 1; ranks <= 5; ++ranks) {
        const std::int64_t length = 4;
        for (int rank = 0; rank < ranks; ++rank) {
          std::set<std::pair<std::int64_t, std::int64_t>> met;
          const auto queries = positions(rank, ranks, length, order);
          for (int step = 0; step < ranks; ++step) {
            const int owner = key_owner(rank, step, ranks);
            const auto keys = positions(owner, ranks, length, order);
            const auto block = ring_block(rank, owner, length, causal, order);
            if (step == 0) CHECK(owner == rank);
            for (auto i = block.first_query; i < length && block.keys > 0; ++i)
              for (std::int64_t j = 0; j < (block.is_causal ? i - block.first_query + 1 : block.keys); ++j)
                CHECK(met.emplace(queries[static_cast<std::size_t>(i)], keys[static_cast<std::size_t>(j)])
                          .second);
          }
          for (const auto query : queries)
            for (std::int64_t key = 0; key < length * ranks; ++key)
              CHECK(met.contains({query, key}) == (!causal || key <= query));
        }
      }
}

TEST_CASE("ring schedule: zigzag gives every rank the same work in every step", "[unit][parallel]") {
  const std::int64_t length = 8;
  for (int ranks = 2; ranks <= 5; ++ranks)
    for (int step = 1; step < ranks; ++step)
      for (int rank = 0; rank < ranks; ++rank) {
        const auto block =
            ring_block(rank, key_owner(rank, step, ranks), length, true, SequenceOrder::kZigzag);
        CHECK((length - block.first_query) * block.keys == length * length / 2);
      }
}

}  // namespace ring_schedule_test
