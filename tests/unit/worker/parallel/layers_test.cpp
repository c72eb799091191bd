// Layers and attention of several ranks against the whole ones of LibTorch.
#include "tests/support/catch.h"
#include "tests/support/fake_ranks.h"

#include <rtrain/parallel.h>

#include <mutex>

namespace layers_test {

using namespace rtrain;
using namespace rtrain::parallel;
using rtrain::test::run_fake_ranks;
using torch::Tensor;

namespace {

constexpr auto kDouble = torch::kFloat64;

void require_close(const Tensor& a, const Tensor& b, const char* what, double tolerance = 1e-12) {
  if (a.sizes() != b.sizes()) throw std::runtime_error(std::string(what) + ": shapes differ");
  const auto difference = (a - b).abs().max().item<double>();
  if (!(difference < tolerance))
    throw std::runtime_error(std::string(what) + ": " + std::to_string(difference));
}

/// Numbers that do not depend on other threads.
Tensor drawn(std::uint64_t seed, c10::IntArrayRef shape) {
  return torch::randn(shape, at::detail::createCPUGenerator(seed), torch::dtype(kDouble));
}
Tensor leaf(const Tensor& x) { return x.detach().clone().set_requires_grad(true); }

void set(const SplitLayer& layer, std::size_t number, const Tensor& whole) {
  const torch::NoGradGuard no_grad;
  const auto& one = layer.split_parameters()[number];
  Tensor(one.tensor).set_data(one.partition.part_of(whole));
}
Tensor whole_gradient(const SplitLayer& layer, std::size_t number) {
  const auto& one = layer.split_parameters()[number];
  return one.partition.whole_of(one.tensor.grad());
}
Tensor own(const Tensor& x, const Group& group, std::int64_t dim) {
  const auto size = x.size(dim) / group->world_size();
  return x.narrow(dim, group->rank() * size, size);
}

}  // namespace

TEST_CASE("tensor parallel: a column-parallel and a row-parallel layer are the whole layers",
          "[unit][parallel]") {
  for (const int ranks : {1, 2, 3})
    for (const bool in_sequence : {false, true})
      run_fake_ranks(ranks, [&](const Group& group) {
        const std::int64_t length = 2 * ranks, hidden = 6 * ranks;
        const auto x = leaf(drawn(1, {3, length, 8})), up = leaf(drawn(2, {hidden, 8})),
                   up_bias = leaf(drawn(3, {hidden})), down = leaf(drawn(4, {8, hidden})),
                   down_bias = leaf(drawn(5, {8})), weights = drawn(6, {3, length, 8});
        const auto y = at::linear(at::gelu(at::linear(x, up, up_bias)), down, down_bias);
        (y * weights).sum().backward();

        ColumnParallelLinear column(
            {.in_features = 8, .out_features = hidden, .sequence_parallel = in_sequence}, group);
        RowParallelLinear row({.in_features = hidden, .out_features = 8, .sequence_parallel = in_sequence},
                              group);
        column->to(kDouble);
        row->to(kDouble);
        set(*column, 0, up.detach());
        set(*column, 1, up_bias.detach());
        set(*row, 0, down.detach());
        row->bias.set_data(down_bias.detach().clone());
        const auto part = [&](const Tensor& all) { return in_sequence ? own(all, group, 1) : all; };
        const auto input = leaf(part(x.detach()));
        const auto output = row(at::gelu(column(input)));
        (output * part(weights)).sum().backward();
        require_close(output, part(y), "output");
        require_close(input.grad(), part(x.grad()), "gradient of the input");
        require_close(whole_gradient(*column, 0), up.grad(), "column weight");
        require_close(whole_gradient(*column, 1), up_bias.grad(), "column bias");
        require_close(whole_gradient(*row, 0), down.grad(), "row weight");
        require_close(row->bias.grad(), down_bias.grad(), "row bias");
      });
}

TEST_CASE("tensor parallel: gathered outputs, whole inputs and blocks", "[unit][parallel]") {
  run_fake_ranks(2, [](const Group& group) {
    const auto x = leaf(drawn(1, {4, 8})), weight = leaf(drawn(2, {12, 8})), down = leaf(drawn(3, {5, 12})),
               weights = drawn(4, {4, 5});
    const auto whole = at::linear(x, weight);
    const auto y = at::linear(whole, down);
    (y * weights).sum().backward();
    ColumnParallelLinear column(
        {.in_features = 8, .out_features = 12, .bias = false, .gather_output = true, .blocks = 3}, group);
    RowParallelLinear row({.in_features = 12, .out_features = 5, .bias = false, .input_is_parallel = false},
                          group);
    column->to(kDouble);
    row->to(kDouble);
    set(*column, 0, weight.detach());
    set(*row, 0, down.detach());
    const auto input = leaf(x.detach());
    const auto gathered = column(input);
    require_close(gathered, whole, "gathered");
    const auto output = row(gathered);
    (output * weights).sum().backward();
    require_close(output, y, "output");
    require_close(input.grad(), x.grad(), "gradient of the input");
    require_close(whole_gradient(*column, 0), weight.grad(), "column weight");
    require_close(whole_gradient(*row, 0), down.grad(), "row weight");
  });
}

TEST_CASE("tensor parallel: second derivatives flow through the collectives", "[unit][parallel]") {
  run_fake_ranks(2, [](const Group& group) {
    const auto x = leaf(drawn(1, {3, 4})), weight = drawn(2, {4, 4}), own_weight = own(weight, group, 0),
               down = drawn(3, {4, 4}), own_down = own(down, group, 1);
    const auto penalty = [](const Tensor& y, const Tensor& input) {
      const auto gradient =
          torch::autograd::grad({y.pow(3).sum()}, {input}, {}, {}, /*create_graph=*/true)[0];
      gradient.square().sum().backward();
    };
    penalty(at::linear(at::tanh(at::linear(x, weight)), down), x);
    const auto input = leaf(x.detach());
    penalty(reduce_from_group(
                at::linear(at::tanh(at::linear(copy_to_group(input, group), own_weight)), own_down), group),
            input);
    require_close(input.grad(), x.grad(), "second derivative", 1e-9);
  });
}

TEST_CASE("tensor parallel: a split vocabulary, its logits and its loss", "[unit][parallel]") {
  for (const int ranks : {1, 2, 3})
    for (const bool in_sequence : {false, true})
      run_fake_ranks(ranks, [&](const Group& group) {
        const std::int64_t vocabulary = 6 * ranks, length = 3 * ranks;
        const auto weight = leaf(drawn(1, {vocabulary, 4}));
        const auto tokens = (torch::arange(2 * length) * 5 % vocabulary).reshape({2, length});
        auto target = (torch::arange(2 * length) * 7 % vocabulary).reshape({2, length});
        target[1][0] = -100;
        const auto x = at::tanh(at::embedding(weight, tokens));
        const auto loss =
            torch::nn::functional::cross_entropy(at::linear(x, weight).flatten(0, 1), target.flatten());
        loss.backward();

        VocabParallelEmbedding embedding(
            {.num_embeddings = vocabulary, .embedding_dim = 4, .sequence_parallel = in_sequence}, group);
        embedding->to(kDouble);
        set(*embedding, 0, weight.detach());
        const auto y = at::tanh(embedding(tokens));
        require_close(y, in_sequence ? own(x, group, 1) : x, "embedding");
        const auto logits = embedding->logits(y);
        if (logits.size(-1) != vocabulary / ranks) throw std::runtime_error("a rank has all logits");
        const auto own_loss = vocab_parallel_cross_entropy(logits, target, group);
        require_close(own_loss, loss, "loss");
        own_loss.backward();
        require_close(whole_gradient(*embedding, 0), weight.grad(), "weight");
      });
}

TEST_CASE("vocab_parallel_cross_entropy: reductions, half precision and what it refuses",
          "[unit][parallel]") {
  run_fake_ranks(2, [](const Group& group) {
    using Options = VocabParallelCrossEntropyOptions;
    const auto all = drawn(1, {5, 6}) * 30;
    const auto target = torch::tensor({0, 5, 2, 3, 1});
    const auto logits = own(all, group, 1);
    const auto each = torch::nn::functional::cross_entropy(
        all, target, torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kNone));
    require_close(
        vocab_parallel_cross_entropy(logits, target, group, {.reduction = Options::Reduction::kNone}), each,
        "each");
    require_close(
        vocab_parallel_cross_entropy(logits, target, group, {.reduction = Options::Reduction::kSum}),
        each.sum(), "sum");
    const auto half = leaf(logits.to(torch::kBFloat16));
    const auto of_half = vocab_parallel_cross_entropy(half, target, group);
    if (of_half.scalar_type() != torch::kFloat32) throw std::runtime_error("bfloat16 is computed in float32");
    of_half.backward();
    if (half.grad().scalar_type() != torch::kBFloat16) throw std::runtime_error("gradient's type");
    const auto refused = [&](const Tensor& targets) -> std::string {
      try {
        (void)vocab_parallel_cross_entropy(logits, targets, group);
      } catch (const std::invalid_argument& error) {
        return error.what();
      }
      return "nothing";
    };
    const auto outside = refused(torch::tensor({0, 6, 2, 3, 1}));
    if (outside.find("token 6 is outside of the vocabulary of 6") == std::string::npos)
      throw std::runtime_error(outside);
    const auto shapes = refused(torch::tensor({0, 1}));
    if (shapes.find("[5, 3], the targets [2]") == std::string::npos) throw std::runtime_error(shapes);
  });
}

TEST_CASE("ring attention: exact forward and backward", "[unit][parallel]") {
  for (const int ranks : {1, 2, 3, 4})
    for (const auto order : {SequenceOrder::kZigzag, SequenceOrder::kContiguous})
      for (const bool causal : {false, true})
        for (const auto scale : {std::optional<double>(), std::optional<double>(0.3)})
          run_fake_ranks(ranks, [&](const Group& group) {
            const std::int64_t length = 6 * ranks;
            const std::vector<std::int64_t> shape{2, 3, length, 8};
            const auto q = leaf(drawn(1, shape)), k = leaf(drawn(2, shape)), v = leaf(drawn(3, shape)),
                       weights = drawn(4, shape);
            const auto y = at::scaled_dot_product_attention(q, k, v, {}, 0, causal, scale);
            (y * weights).sum().backward();
            const auto positions = context_positions(length, group, order);
            const auto part = [&](const Tensor& x) { return x.detach().index_select(2, positions); };
            const auto own_q = leaf(part(q)), own_k = leaf(part(k)), own_v = leaf(part(v));
            const auto output = ring_attention(own_q, own_k, own_v, group,
                                               {.is_causal = causal, .order = order, .scale = scale});
            (output * part(weights)).sum().backward();
            require_close(output, part(y), "output");
            require_close(own_q.grad(), part(q.grad()), "q");
            require_close(own_k.grad(), part(k.grad()), "k");
            require_close(own_v.grad(), part(v.grad()), "v");
          });
}

TEST_CASE("ring attention: half precision is joined in float32", "[unit][parallel]") {
  run_fake_ranks(2, [](const Group& group) {
    const std::vector<std::int64_t> shape{1, 2, 32, 8};
    const auto draw = [&](std::uint64_t seed) { return drawn(seed, shape).to(torch::kBFloat16); };
    const auto q = draw(1), k = draw(2), v = draw(3);
    const auto y = at::scaled_dot_product_attention(q.to(kDouble), k.to(kDouble), v.to(kDouble), {}, 0, true);
    const auto positions = context_positions(32, group);
    const auto part = [&](const Tensor& x) { return x.index_select(2, positions); };
    const auto output = ring_attention(part(q), part(k), part(v), group, {.is_causal = true});
    if (output.scalar_type() != torch::kBFloat16) throw std::runtime_error("type");
    require_close(output.to(kDouble), part(y), "output", 0.03);
  });
}

TEST_CASE("context parallel: a batch is cut along its length", "[unit][parallel]") {
  run_fake_ranks(2, [](const Group& group) {
    const auto tokens = torch::arange(16).reshape({2, 8});
    const auto part = context_part({tokens, tokens + 1}, group);
    const auto expected = group->rank() == 0 ? torch::tensor({0, 1, 6, 7}) : torch::tensor({2, 3, 4, 5});
    if (!torch::equal(part.input[0], expected) || !torch::equal(part.target[0], expected + 1) ||
        !torch::equal(context_positions(8, group), expected))
      throw std::runtime_error("zigzag");
    if (!torch::equal(context_part({tokens}, group, SequenceOrder::kContiguous).input, own(tokens, group, 1)))
      throw std::runtime_error("contiguous");
    const auto labels = torch::tensor({1, 0});
    if (!torch::equal(context_part({tokens, labels}, group).target, labels))
      throw std::runtime_error("labels stay whole");
    const auto told = [&](const Batch& batch) -> std::string {
      try {
        (void)context_part(batch, group);
      } catch (const std::invalid_argument& error) {
        return error.what();
      }
      return "nothing";
    };
    const auto odd = told({torch::zeros({2, 10})});
    if (odd.find("the length is 10, and 2 ranks need a multiple of 4") == std::string::npos)
      throw std::runtime_error(odd);
    const auto lengths = told({tokens, tokens.narrow(1, 0, 4)});
    if (lengths.find("lengths 8 and 4") == std::string::npos) throw std::runtime_error(lengths);
  });
}

}  // namespace layers_test
