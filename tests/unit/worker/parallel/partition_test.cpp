#include <rtrain/parallel/partition.h>

#include "tests/support/catch.h"
#include "tests/support/fake_ranks.h"

#include <rtrain/parallel/linear.h>
#include <rtrain/parallel/vocabulary.h>

namespace partition_test {

using namespace rtrain;
using namespace rtrain::parallel;
using Catch::Matchers::Contains;
using rtrain::test::run_fake_ranks;

namespace {

void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

}  // namespace

TEST_CASE("partition: parts are those of the whole, and make it up again", "[unit][parallel]") {
  struct Case {
    std::vector<std::int64_t> shape;
    std::int64_t dim, blocks;
  };
  for (const auto& one : {Case{{6, 5}, 0, 1}, Case{{5, 6}, 1, 1}, Case{{12}, 0, 2}, Case{{18, 4}, 0, 3},
                          Case{{2, 12, 3}, 1, 2}, Case{{2, 3, 6}, 2, 1}})
    for (const int ranks : {1, 2, 3})
      run_fake_ranks(ranks, [&](const std::shared_ptr<Communicator>& group) {
        const auto whole =
            torch::arange(c10::multiply_integers(one.shape), torch::kFloat64).reshape(one.shape);
        const Partition partition("a layer", one.shape, one.dim, group, one.blocks);
        const auto part = partition.part_of(whole);
        require(part.sizes().vec() == partition.part_shape(), "shape");
        require(torch::equal(partition.whole_of(part), whole), "whole_of");
        const auto piece = partition.piece(part);
        require(piece.is_part == (ranks > 1), "is_part");
        require(torch::equal(StatePiece(whole).elements_of(piece), part), "elements_of");
        require(piece.of(part + 1).shape == one.shape, "of");
      });
}

TEST_CASE("partition: the parts of a piece are where a file has them", "[unit][parallel]") {
  run_fake_ranks(2, [](const std::shared_ptr<Communicator>& group) {
    const auto whole = torch::arange(24).reshape({4, 6});
    const Partition columns("a layer", {4, 6}, 1, group);
    const auto piece = columns.piece(columns.part_of(whole));
    require(!piece.is_range() && piece.offset == 3 * group->rank() && piece.runs.length == 3 &&
                piece.runs.stride == 6,
            "columns");
    const Partition rows("a layer", {4, 6}, 0, group);
    require(rows.piece(rows.part_of(whole)).is_range(), "rows are one range");
    try {
      (void)piece.whole();
      require(false, "a part is no whole");
    } catch (const std::logic_error&) {
    }
  });
}

TEST_CASE("parallel layers: sizes that the ranks cannot share are told with layer, size and ranks",
          "[unit][parallel]") {
  run_fake_ranks(3, [](const std::shared_ptr<Communicator>& group) {
    const auto told = [](const std::function<void()>& make) -> std::string {
      try {
        make();
      } catch (const std::invalid_argument& error) {
        return error.what();
      }
      return "nothing";
    };
    const auto column = told([&] { ColumnParallelLinear({.in_features = 4, .out_features = 10}, group); });
    require(column.starts_with("ColumnParallelLinear: out_features is 10, which 3 ranks cannot share"),
            column);
    const auto blocks =
        told([&] { ColumnParallelLinear({.in_features = 4, .out_features = 12, .blocks = 2}, group); });
    require(blocks == "nothing", blocks);
    const auto halves =
        told([&] { ColumnParallelLinear({.in_features = 4, .out_features = 6, .blocks = 3}, group); });
    require(halves.find("out_features / 3 blocks is 2, which 3 ranks cannot share") != std::string::npos,
            halves);
    const auto row = told([&] { RowParallelLinear({.in_features = 4, .out_features = 10}, group); });
    require(row.starts_with("RowParallelLinear: in_features is 4, which 3 ranks cannot share"), row);
    const auto vocabulary =
        told([&] { VocabParallelEmbedding({.num_embeddings = 50257, .embedding_dim = 8}, group); });
    require(
        vocabulary.find("num_embeddings is 50257, which 3 ranks cannot share equally: choose a multiple of "
                        "3") != std::string::npos,
        vocabulary);
    const auto none = told([&] { RowParallelLinear({.in_features = 3, .out_features = 1}, nullptr); });
    require(none.find("the group is null") != std::string::npos, none);
  });
}

}  // namespace partition_test
