// Models against torchvision's and Hugging Face's (tests/golden/models/g_models.py): names, shapes, outputs
// and gradients, in float64.
#include "tests/support/golden.h"
#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <rtrain/models.h>
#include <rtrain/safetensors.h>

#include <functional>

namespace models_golden_test {

using namespace rtrain;
using namespace rtrain::models;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using rtrain::test::det;

namespace {

namespace F = torch::nn::functional;

/// In the order of Python's state_dict().
void collect(const torch::nn::Module& module, const std::string& prefix,
             std::vector<std::pair<std::string, torch::Tensor>>& state) {
  for (const auto& item : module.named_parameters(/*recurse=*/false))
    state.emplace_back(prefix + item.key(), item.value());
  for (const auto& item : module.named_buffers(/*recurse=*/false))
    state.emplace_back(prefix + item.key(), item.value());
  for (const auto& item : module.named_children()) collect(*item.value(), prefix + item.key() + ".", state);
}

/// Tensor k, element i: ((i*7919 + k*104729) mod 1000)/1000 - 0.5, scaled as the script does.
void fill(const std::vector<std::pair<std::string, torch::Tensor>>& state) {
  const torch::NoGradGuard no_grad;
  for (std::size_t k = 0; k < state.size(); ++k) {
    auto [name, tensor] = state[k];
    if (!tensor.is_floating_point()) continue;
    const auto i = torch::arange(tensor.numel(), torch::kLong) * 7919 + static_cast<std::int64_t>(k) * 104729;
    auto v = i.remainder(1000).to(torch::kDouble) / 1000 - 0.5;
    const auto fan = tensor.dim() > 1 ? std::max<std::int64_t>(1, tensor.numel() / tensor.size(0)) : 1;
    const bool one = name.ends_with("running_var") || (tensor.dim() == 1 && name.ends_with("weight"));
    if (one)
      v = 1 + v / 10;
    else
      v = tensor.dim() > 1 ? v * std::sqrt(2.0 / static_cast<double>(fan)) * 1.7 : v / 10;
    tensor.copy_(v.view(tensor.sizes()));
  }
}

const test::GoldenSection& section(const std::string& title) {
  static const auto all = test::golden_sections("models/models.txt");
  for (const auto& one : all)
    if (one.title == title) return one;
  throw std::runtime_error("there is no section " + title);
}

struct Result {
  torch::Tensor output, loss;
};

/// @param prefix of the golden names, which the module does not have.
void check(const std::string& title, torch::nn::Module& model, const std::function<Result()>& run,
           const std::string& prefix = "") {
  CAPTURE(title);
  const auto& golden = section(title);
  model.to(torch::kDouble);
  std::vector<std::pair<std::string, torch::Tensor>> state;
  collect(model, "", state);
  CHECK(std::to_string(state.size()) == golden.after("entries "));
  std::int64_t parameters = 0;
  for (const auto& p : model.parameters()) parameters += p.numel();
  CHECK(std::to_string(parameters) == golden.after("parameters "));
  std::vector<std::string> names;
  for (const auto& line : golden.lines)
    if (line.starts_with("name ")) names.push_back(line.substr(5));
  if (!names.empty()) {
    REQUIRE(names.size() == state.size());
    for (std::size_t k = 0; k < names.size(); ++k)
      CHECK(prefix + state[k].first + " " + c10::str(state[k].second.sizes()) == names[k]);
  }
  fill(state);
  model.eval();
  {
    const torch::NoGradGuard no_grad;
    const auto output = run().output.reshape({-1});
    const auto expected = test::golden_numbers(golden.after("eval "));
    for (std::size_t i = 0; i < 6; ++i)
      CHECK_THAT(output[static_cast<std::int64_t>(i)].item<double>(), WithinAbs(expected[i], 1e-7));
    CHECK_THAT(output.abs().sum().item<double>(), WithinRel(expected[7], 1e-7));
  }
  model.train();
  const auto loss = run().loss;
  loss.backward();
  CHECK_THAT(loss.item<double>(), WithinRel(test::golden_numbers(golden.after("loss "))[0], 1e-7));
  double squares = 0;
  for (const auto& p : model.parameters()) squares += p.grad().square().sum().item<double>();
  CHECK_THAT(std::sqrt(squares), WithinRel(test::golden_numbers(golden.after("gradient "))[0], 1e-5));
}

template <class Model>
void check_classifier(const std::string& title, Model model) {
  check(title, *model, [&] {
    const auto output = model(det({4, 3, 64, 64}, 1));
    return Result{output, F::cross_entropy(output, torch::tensor({1, 2, 3, 4}))};
  });
}

template <class Model>
void check_decoder(const std::string& title, Model model, const std::string& prefix = "") {
  const auto k = torch::arange(8, torch::kLong);
  const auto ids = torch::stack({(k * 7 + 3).remainder(50), (k * 11 + 1).remainder(50)});
  check(
      title, *model,
      [&] {
        const auto output = model(ids);
        return Result{
            output, F::cross_entropy(output.slice(1, 0, 7).reshape({-1, 50}), ids.slice(1, 1).reshape({-1}))};
      },
      prefix);
}

std::int64_t count(const torch::nn::Module& module) {
  std::int64_t n = 0;
  for (const auto& p : module.parameters()) n += p.numel();
  return n;
}

}  // namespace

TEST_CASE("models: ResNets are torchvision's", "[unit][worker][models]") {
  check_classifier("resnet18", resnet18(10));
  check_classifier("resnet50", resnet50(10));
  check_classifier("resnext50_32x4d", ResNet(ResNetOptions{.blocks = {3, 4, 6, 3},
                                                           .num_classes = 10,
                                                           .bottleneck = true,
                                                           .groups = 32,
                                                           .width_per_group = 4}));
  for (const auto& [title, model] :
       {std::pair("resnet34", resnet34(10)), std::pair("resnet101", resnet101(10)),
        std::pair("resnet152", resnet152(10))})
    CHECK(std::to_string(count(*model)) == section(title).after("parameters "));
  CHECK_THROWS_WITH(ResNet(ResNetOptions{.groups = 2}), Catch::Contains("set bottleneck = true"));
  const auto zero =
      ResNet(ResNetOptions{.blocks = {1, 1, 1, 1}, .bottleneck = true, .zero_init_residual = true});
  CHECK(zero->named_parameters()["layer1.0.bn3.weight"].abs().sum().item<double>() == 0);
}

TEST_CASE("models: the vision transformer is torchvision's", "[unit][worker][models]") {
  check_classifier("vit", VisionTransformer(VisionTransformerOptions{.image_size = 64,
                                                                     .patch_size = 16,
                                                                     .num_layers = 2,
                                                                     .num_heads = 4,
                                                                     .hidden_dim = 32,
                                                                     .mlp_dim = 64,
                                                                     .num_classes = 10}));
  CHECK(std::to_string(count(*vit_b_16())) == section("vit_b_16").after("parameters "));
  CHECK_THROWS_WITH(VisionTransformer(VisionTransformerOptions{.image_size = 225}),
                    Catch::Contains("multiple of patch_size, 16"));
  CHECK_THROWS_WITH(vit_b_16()(torch::zeros({1, 3, 32, 32})), Catch::Contains("expected [N, 3, 224, 224]"));
}

TEST_CASE("models: GPT-2 is Hugging Face's", "[unit][worker][models]") {
  const GPT2Options small{
      .vocab_size = 50, .n_positions = 16, .n_embd = 32, .n_layer = 2, .n_head = 4, .dropout = 0};
  GPT2 model(small);
  check_decoder("gpt2", model, "transformer.");
  // Sizes by the formula of the layers: the largest has 6 GB.
  const auto size = [](const GPT2Options& o) {
    const auto c = o.n_embd;
    return o.vocab_size * c + o.n_positions * c + o.n_layer * (12 * c * c + 13 * c) + 2 * c;
  };
  CHECK(size(small) == count(*model));
  for (const auto& [title, options] :
       {std::pair("gpt2 size", GPT2Options()), std::pair("gpt2-medium size", gpt2_medium()),
        std::pair("gpt2-large size", gpt2_large()), std::pair("gpt2-xl size", gpt2_xl())})
    CHECK(std::to_string(size(options)) == section(title).after("parameters "));
  CHECK_THROWS_WITH(model(torch::zeros({1, 17}, torch::kLong)), Catch::Contains("at most n_positions, 16"));
}

TEST_CASE("models: Llama is Hugging Face's", "[unit][worker][models]") {
  LlamaOptions small{.vocab_size = 50,
                     .hidden_size = 32,
                     .intermediate_size = 48,
                     .num_hidden_layers = 2,
                     .num_attention_heads = 4,
                     .num_key_value_heads = 2,
                     .rms_norm_eps = 1e-5};
  check_decoder("llama", Llama(small));
  small.tie_word_embeddings = true;
  check_decoder("llama tied", Llama(small));
  CHECK_THROWS_WITH(Llama(LlamaOptions{.hidden_size = 30, .num_attention_heads = 4}),
                    Catch::Contains("twice num_attention_heads, 8"));
}

TEST_CASE("models: GPT-2 generates, and reads the files of others", "[unit][worker][models]") {
  torch::manual_seed(1);
  const GPT2Options small{.vocab_size = 11, .n_positions = 4, .n_embd = 8, .n_layer = 1, .n_head = 2};
  GPT2 model(small);
  model->eval();
  const auto longer = model->generate(torch::tensor({{1, 2, 3}}), 5, 0.5, 3);
  CHECK(longer.sizes() == std::vector<std::int64_t>{1, 8});
  CHECK(longer.slice(1, 0, 3).equal(torch::tensor({{1, 2, 3}})));
  const auto likeliest = model->generate(torch::tensor({{1, 2}}), 1, 1.0, 1)[0][2];
  CHECK(likeliest.equal(model(torch::tensor({{1, 2}})).select(1, -1).argmax(-1)[0]));

  const test::Folder folder;
  std::map<std::string, torch::Tensor> saved{{"lm_head.weight", model->wte->weight.detach().clone()},
                                             {"transformer.h.0.attn.bias", torch::ones({1, 1, 4, 4})}};
  for (const auto& item : model->named_parameters())
    saved.emplace("transformer." + item.key(), item.value().detach());
  save_safetensors(folder / "model.safetensors", {saved, {}});
  GPT2 other(small);
  (void)load_gpt2(*other, folder.path());
  other->eval();
  CHECK(torch::equal(other(torch::tensor({{1, 2}})), model(torch::tensor({{1, 2}}))));
  GPT2 deeper(GPT2Options{.vocab_size = 11, .n_positions = 4, .n_embd = 8, .n_layer = 2, .n_head = 2});
  CHECK_THROWS_WITH(load_gpt2(*deeper, folder.path()), Catch::Contains("h.1.ln_1.weight: missing"));
}

}  // namespace models_golden_test
