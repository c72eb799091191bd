#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <rtrain/load_from_checkpoint.h>

#include <fstream>

namespace weights_test {

using namespace rtrain;
using rtrain::test::Folder;
using rtrain::test::quiet;
using List = std::vector<std::string>;

namespace {

struct Net : torch::nn::Module {
  torch::nn::Linear a = register_module("a", torch::nn::Linear(2, 3)),
                    b = register_module("b", torch::nn::Linear(3, 1));
};

std::map<std::string, torch::Tensor> of(const Net& net, const std::string& prefix = "") {
  std::map<std::string, torch::Tensor> all;
  for (const auto& item : net.named_parameters())
    all.emplace(prefix + item.key(), item.value().detach().clone());
  return all;
}

bool same(const Net& x, const Net& y) {
  const auto one = of(x), other = of(y);
  return std::equal(one.begin(), one.end(), other.begin(), [](const auto& p, const auto& q) {
    return p.first == q.first && torch::equal(p.second, q.second);
  });
}

}  // namespace

TEST_CASE("load_weights: a file, a folder, an index of files", "[unit][checkpoint]") {
  const Folder folder;
  const Net from;
  save_safetensors(folder / "w.safetensors", {of(from), {}});
  save_safetensors(folder / "model.safetensors", {of(from), {}});
  std::filesystem::create_directory(folder / "parts");
  save_safetensors(folder / "parts/1.safetensors",
                   {{{"a.weight", from.a->weight}, {"a.bias", from.a->bias}}, {}});
  save_safetensors(folder / "parts/2.safetensors",
                   {{{"b.weight", from.b->weight}, {"b.bias", from.b->bias}}, {}});
  const auto index = folder / "parts/model.safetensors.index.json";
  std::ofstream(index) << R"({"weight_map": {"a.weight": "1.safetensors", "a.bias": "1.safetensors",
                                             "b.weight": "2.safetensors", "b.bias": "2.safetensors"}})";
  for (const auto& path : {folder / "w.safetensors", folder.path(), folder / "parts", index}) {
    CAPTURE(path);
    Net to;
    CHECK(load_weights(to, path).loaded == List{"a.bias", "a.weight", "b.bias", "b.weight"});
    CHECK(same(from, to));
  }
  Net to;
  std::filesystem::copy(folder / "model.safetensors", folder / "parts/model.safetensors");
  CHECK_THROWS_WITH(load_weights(to, folder / "parts"), Catch::Contains("one of the two has the weights"));
  CHECK(load_weights(to, index).loaded.size() == 4);
  std::ofstream(index) << R"({"weight_map": {"a.weight": "../w.safetensors"}})";
  CHECK_THROWS_WITH(load_weights(to, index), Catch::Contains("\"a.weight\" is no name of a file beside"));
  std::ofstream(index) << R"({"weight_map": {"c": "1.safetensors"}})";
  CHECK_THROWS_WITH(load_weights(to, index), Catch::Contains("c is not in 1.safetensors"));
  CHECK_THROWS_WITH(load_weights(to, folder / "nothing"), Catch::Contains("nothing"));
  std::filesystem::create_directory(folder / "empty");
  CHECK_THROWS_WITH(load_weights(to, folder / "empty"), Catch::Contains("neither model.safetensors nor"));
}

TEST_CASE("load_weights: prefix, names, types, and what does not fit", "[unit][checkpoint]") {
  const Folder folder;
  const auto file = folder / "w.safetensors";
  const Net from;
  auto saved = of(from, "model.");
  saved.emplace("optimizer.step", torch::ones(1));
  save_safetensors(file, {saved, {}});
  Net to;
  (void)load_weights(to, file, {.prefix = "model."});
  CHECK(same(from, to));
  CHECK_THROWS_WITH(load_weights(to, file, {.prefix = "net."}), Catch::Contains("begins with \"net.\""));
  CHECK_THROWS_WITH(load_weights(to, file), Catch::Contains("\n  a.bias: missing in the checkpoint") &&
                                                Catch::Contains("\n  optimizer.step: not in the model"));

  save_safetensors(file, {{{"old.first.weight", from.a->weight.to(torch::kDouble)},
                           {"old.first.bias", from.a->bias},
                           {"old.head.weight", from.b->weight},
                           {"old.head.mask", torch::ones(1)}},
                          {}});
  Net renamed;
  const auto loaded = load_weights(
      renamed, file,
      {.rename = {{"old.", ""}, {"old.first.", "a."}, {"old.head.weight", "b.weight"}, {"old.head.mask", ""}},
       .strict = false});
  CHECK(loaded.loaded == List{"a.bias", "a.weight", "b.weight"});
  CHECK(loaded.missing == List{"b.bias"});
  CHECK(loaded.unexpected.empty());
  CHECK(torch::equal(renamed.a->weight, from.a->weight));
  CHECK(renamed.a->weight.scalar_type() == torch::kFloat32);
  CHECK_THROWS_WITH(
      load_weights(renamed, file, {.rename = {{"old.first.weight", "x"}, {"old.first.bias", "x"}}}),
      Catch::Contains("two tensors would be called x"));

  save_safetensors(file, {{{"a.weight", torch::ones({3, 3})}}, {}});
  const auto before = of(to);
  CHECK_THROWS_WITH(load_weights(to, file, {.strict = false}),
                    Catch::Contains("a.weight: the checkpoint has shape [3, 3], the model [3, 2]"));
  CHECK(torch::equal(to.a->weight, before.at("a.weight")));
}

TEST_CASE("load_from_checkpoint: builds the module of the hyperparameters", "[unit][checkpoint]") {
  struct Sized : test::BoringModel {
    std::int64_t width;
    explicit Sized(const nlohmann::json& hparams) : width(hparams.at("width").get<std::int64_t>()) {
      save_hyperparameters(hparams);
      register_module("more", torch::nn::Linear(width, 1));
    }
  };
  struct WithArguments : Sized {
    explicit WithArguments(std::int64_t given) : Sized(nlohmann::json{{"width", given}}) {}
  };
  const Folder folder;
  Sized model(nlohmann::json{{"width", 5}});
  Trainer trainer(quiet({.max_epochs = 1}));
  trainer.fit(model, test::boring_loader(2));
  trainer.save_checkpoint(folder / "c");
  const auto again = load_from_checkpoint<Sized>(folder / "c");
  CHECK(again->width == 5);
  CHECK(torch::equal(again->layer->weight, model.layer->weight));
  CHECK(load_from_checkpoint<WithArguments>(folder / "c", 5)->width == 5);
  CHECK_THROWS_WITH(load_from_checkpoint<test::BoringModel>(folder / "c"),
                    Catch::Contains("more.bias: not in the model"));
  CHECK_THROWS_WITH(load_from_checkpoint<Sized>(std::optional<Checkpoint>()),
                    Catch::Contains("there is no checkpoint"));
}

TEST_CASE("strict_loading: false loads what fits, and says what does not", "[unit][checkpoint]") {
  struct Larger : test::BoringModel {
    torch::nn::Linear head = register_module("head", torch::nn::Linear(2, 1));
  };
  const Folder folder;
  test::BoringModel model;
  Trainer trainer(quiet({.max_epochs = 1}));
  trainer.fit(model, test::boring_loader(2));
  trainer.save_checkpoint(folder / "c");
  Larger larger;
  const auto head = larger.head->weight.detach().clone();
  {
    const test::Heard heard;
    CHECK_THROWS_WITH(trainer.validate(larger, test::boring_loader(2), folder / "c"),
                      Catch::Contains("head.bias: missing in the checkpoint"));
  }
  larger.set_strict_loading(false);
  const test::Heard heard;
  (void)trainer.validate(larger, test::boring_loader(2), folder / "c");
  CHECK_THAT(heard.text(), Catch::Contains("head.bias: missing in the checkpoint\nhead.weight: missing"));
  CHECK(torch::equal(larger.layer->weight, model.layer->weight));
  CHECK(torch::equal(larger.head->weight, head));
}

TEST_CASE("load_weights: a damaged checkpoint is named, and nothing is loaded", "[unit][checkpoint]") {
  const Folder folder;
  test::BoringModel model, other;
  Trainer trainer(quiet({.max_epochs = 1}));
  trainer.fit(model, test::boring_loader(2));
  trainer.save_checkpoint(folder / "c");
  CHECK(load_weights(other, folder / "c").loaded.size() == 2);
  const auto file = folder / "c/model.safetensors";
  std::fstream(file, std::ios::in | std::ios::out | std::ios::binary).seekp(-1, std::ios::end).put('\x7e');
  const auto before = other.layer->weight.detach().clone();
  CHECK_THROWS_WITH(load_weights(other, folder / "c"), Catch::Contains("the file is damaged"));
  CHECK(torch::equal(other.layer->weight, before));
}

}  // namespace weights_test
