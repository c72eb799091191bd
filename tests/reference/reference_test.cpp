#include "tests/support/reference.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <rtrain/data.h>
#include <rtrain/models.h>
#include <rtrain/optim.h>
#include <rtrain/safetensors.h>

#include <ATen/Parallel.h>
#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace reference_test {

using namespace rtrain;
using nlohmann::json;

namespace {

json read_json(const std::filesystem::path& path) {
  std::ifstream in(path);
  return json::parse(in);
}

/// Parameters and buffers by name, as Python's state_dict() lists them.
std::map<std::string, torch::Tensor> state_of(const torch::nn::Module& module) {
  std::map<std::string, torch::Tensor> state;
  for (const auto& p : module.named_parameters()) state.emplace(p.key(), p.value());
  for (const auto& b : module.named_buffers()) state.emplace(b.key(), b.value());
  return state;
}

void load(const torch::nn::Module& module, const std::map<std::string, torch::Tensor>& weights) {
  const torch::NoGradGuard no_grad;
  const auto state = state_of(module);
  REQUIRE(state.size() == weights.size());
  for (const auto& [name, tensor] : state) {
    INFO(name);
    REQUIRE(weights.contains(name));
    REQUIRE(weights.at(name).sizes() == tensor.sizes());
    torch::Tensor(tensor).copy_(weights.at(name));
  }
}

/// Operators run on one thread while it lives, as in the scripts: sums then have the same order.
struct OneThread {
  int before = at::get_num_threads();
  OneThread() { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before); }
};

}  // namespace

TEST_CASE("reference: DistributedSampler gives PyTorch's indices", "[reference]") {
  const test::TempDir dir;
  if (!test::make_reference("samplers.py", dir.path())) return;
  const auto rows = read_json(dir / "samplers.json");
  REQUIRE(rows.size() > 500);
  for (const auto& row : rows) {
    DistributedSampler sampler(row["size"].get<std::int64_t>(), {.num_replicas = row["world"].get<int>(),
                                                                 .rank = row["rank"].get<int>(),
                                                                 .shuffle = row["shuffle"].get<bool>(),
                                                                 .seed = row["seed"].get<std::uint64_t>(),
                                                                 .drop_last = row["drop_last"].get<bool>()});
    sampler.set_epoch(row["epoch"].get<std::int64_t>());
    if (sampler.size() != row["length"].get<std::int64_t>() ||
        sampler.indices() != row["indices"].get<std::vector<std::int64_t>>()) {
      FAIL_CHECK("differs for " << row.dump());
    }
  }
}

TEST_CASE("reference: optimizers take PyTorch's steps", "[reference]") {
  const test::TempDir dir;
  if (!test::make_reference("optim.py", dir.path())) return;
  const auto values = load_safetensors(dir / "optim.safetensors").tensors;
  for (const auto& row : read_json(dir / "optim.json")) {
    const auto key = row["key"].get<std::string>();
    const auto kind = row["kind"].get<std::string>();
    INFO(row.dump());
    std::vector<torch::Tensor> parameters;
    for (int i = 0; i < row["parameters"].get<int>(); ++i)
      parameters.push_back(values.at(key + "/begin/" + std::to_string(i)).clone().set_requires_grad(true));
    const auto& o = row["options"];
    std::shared_ptr<Optimizer> optimizer;
    const auto fill = [&](auto options) {
      options.lr = o.value("lr", options.lr);
      options.beta1 = o.value("beta1", options.beta1);
      options.beta2 = o.value("beta2", options.beta2);
      options.eps = o.value("eps", options.eps);
      options.weight_decay = o.value("weight_decay", options.weight_decay);
      options.amsgrad = o.value("amsgrad", options.amsgrad);
      options.maximize = o.value("maximize", options.maximize);
      return options;
    };
    if (kind == "Adam") optimizer = optim::Adam(parameters, fill(optim::AdamOptions{}));
    if (kind == "AdamW") optimizer = optim::AdamW(parameters, fill(optim::AdamWOptions{}));
    if (kind == "SGD") {
      optimizer = optim::SGD(parameters, {.lr = o.value("lr", 1e-3),
                                          .momentum = o.value("momentum", 0.0),
                                          .dampening = o.value("dampening", 0.0),
                                          .weight_decay = o.value("weight_decay", 0.0),
                                          .nesterov = o.value("nesterov", false),
                                          .maximize = o.value("maximize", false)});
    }
    for (int step = 0; step < row["steps"].get<int>(); ++step) {
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        const auto grad = values.find(key + "/grad/" + std::to_string(step) + "/" + std::to_string(i));
        parameters[i].mutable_grad() = grad == values.end() ? torch::Tensor() : grad->second;
      }
      optimizer->step();
    }
    const auto same = [](const torch::Tensor& mine, const torch::Tensor& theirs) {
      return mine.scalar_type() == torch::kDouble ? torch::allclose(mine, theirs, 1e-12, 1e-12)
                                                  : torch::equal(mine, theirs);
    };
    for (std::size_t i = 0; i < parameters.size(); ++i)
      CHECK(same(parameters[i].detach(), values.at(key + "/end/" + std::to_string(i))));
    std::size_t compared = 0;
    const auto state = optimizer->state_dict().tensors;
    for (auto it = values.lower_bound(key + "/state/");
         it != values.end() && it->first.starts_with(key + "/state/"); ++it, ++compared) {
      const auto name = it->first.substr(key.size() + 7);
      INFO(name);
      REQUIRE(state.contains(name));
      CHECK(same(state.at(name), it->second.to(state.at(name).tensor.scalar_type())));
    }
    CHECK(compared == state.size());
  }
}

TEST_CASE("reference: PyPI's safetensors reads our files and we read its", "[reference]") {
  const test::TempDir dir;
  SafeTensors content;
  for (const auto& [name, type] : std::map<std::string, torch::ScalarType>{{"F64", torch::kDouble},
                                                                           {"F32", torch::kFloat},
                                                                           {"F16", torch::kHalf},
                                                                           {"BF16", torch::kBFloat16},
                                                                           {"I64", torch::kLong},
                                                                           {"I32", torch::kInt},
                                                                           {"I16", torch::kShort},
                                                                           {"I8", torch::kChar},
                                                                           {"U8", torch::kByte},
                                                                           {"BOOL", torch::kBool}}) {
    content.tensors.emplace(
        name, (torch::arange(12) % 5 - (name == "U8" || name == "BOOL" ? 0 : 2)).to(type).view({3, 4}));
  }
  content.tensors.emplace("scalar", torch::tensor(2.5f));
  content.tensors.emplace("empty", torch::zeros({0, 3}));
  content.metadata = {{"format", "pt"}, {"epoch", "3"}};
  save_safetensors(dir / "cpp.safetensors", content);
  if (!test::make_reference("safetensors_io.py", dir.path())) return;
  const auto theirs = load_safetensors(dir / "python.safetensors");
  CHECK(theirs.metadata == content.metadata);
  REQUIRE(theirs.tensors.size() == content.tensors.size());
  for (const auto& [name, tensor] : content.tensors) {
    INFO(name);
    CHECK(theirs.tensors.at(name).scalar_type() == tensor.scalar_type());
    CHECK(torch::equal(theirs.tensors.at(name), tensor));
  }
}

TEST_CASE("reference: ToTensor and Normalize are torchvision's to the last bit", "[reference]") {
  namespace t = data::transforms;
  const test::TempDir dir;
  if (!test::make_reference("transforms.py", dir.path())) return;
  const auto values = load_safetensors(dir / "transforms.safetensors").tensors;
  const auto ramp = torch::arange(256, torch::kByte).view({1, 1, 16, 16});
  CHECK(torch::equal(t::ToTensor()->apply(ramp)[0], values.at("to_tensor")));
  CHECK(torch::equal(t::Compose({t::ToTensor(), t::Normalize(0.5, 0.5)})->apply(ramp)[0], values.at("half")));
  CHECK(torch::equal(t::Compose({t::ToTensor(), t::Normalize(0.2860, 0.3530)})->apply(ramp)[0],
                     values.at("odd")));
  CHECK(torch::equal(t::Compose({t::ToTensor(), t::Normalize({0.485, 0.456, 0.406}, {0.229, 0.224, 0.225})})
                         ->apply(values.at("colours").unsqueeze(0))[0],
                     values.at("imagenet")));
  for (const bool train : {true, false}) {
    const auto set = data::FashionMNIST("", train, t::Compose({t::ToTensor(), t::Normalize(0.5, 0.5)}));
    CHECK(set->size() == (train ? 60'000 : 10'000));
    std::vector<std::int64_t> some;
    for (std::int64_t i = 0; i < set->size(); i += 997) some.push_back(i);
    const auto batch = set->get_batch(some);
    CHECK(torch::equal(batch.input, values.at(train ? "train_images" : "test_images")));
    CHECK(torch::equal(batch.target, values.at(train ? "train_labels" : "test_labels")));
  }
}

TEST_CASE("reference: ResNet is torchvision's in names, shapes, initial values and outputs", "[reference]") {
  const OneThread one;
  const test::TempDir dir;
  if (!test::make_reference("resnet.py", dir.path())) return;

  const auto shapes = read_json(dir / "shapes.json");
  for (const auto& [name, model] : std::map<std::string, models::ResNet>{{"resnet18", models::resnet18()},
                                                                         {"resnet34", models::resnet34()}}) {
    std::map<std::string, std::vector<std::int64_t>> mine, theirs;
    for (const auto& [key, tensor] : state_of(*model)) mine.emplace(key, tensor.sizes().vec());
    std::vector<std::string> parameter_order, their_order;
    for (const auto& row : shapes[name]) {
      theirs.emplace(row[0].get<std::string>(), row[1].get<std::vector<std::int64_t>>());
      if (model->named_parameters().contains(row[0].get<std::string>()))
        their_order.push_back(row[0].get<std::string>());
    }
    for (const auto& p : model->named_parameters()) parameter_order.push_back(p.key());
    CHECK(mine == theirs);
    CHECK(parameter_order == their_order);
  }

  torch::manual_seed(3);
  auto model = models::resnet18(10);
  const auto initial = load_safetensors(dir / "initial.safetensors").tensors;
  for (const auto& [name, tensor] : state_of(*model)) {
    INFO(name);
    CHECK(torch::equal(tensor, initial.at("model." + name)));
  }

  load(*model, load_safetensors(dir / "weights.safetensors").tensors);
  const auto outputs = load_safetensors(dir / "outputs.safetensors").tensors;
  const torch::NoGradGuard no_grad;
  const auto difference = [&](const torch::Tensor& mine, const std::string& theirs) {
    return (mine - outputs.at(theirs)).abs().max().item<double>();
  };
  model->eval();
  CHECK(difference(model(outputs.at("images")), "eval") < 1e-5);
  model->train();
  CHECK(difference(model(outputs.at("images")), "train") < 1e-5);
  for (const auto& b : model->named_buffers()) {
    INFO(b.key());
    CHECK(torch::allclose(b.value(), outputs.at("after." + b.key()), 1e-5, 1e-6));
  }
}

TEST_CASE("reference: ResNet-18 learns Fashion-MNIST along PyTorch's losses", "[reference]") {
  namespace t = data::transforms;
  const OneThread one;
  const test::TempDir dir;
  if (!test::make_reference("train_resnet.py", dir.path())) return;
  auto model = models::resnet18(10, 1);
  load(*model, load_safetensors(dir / "initial.safetensors").tensors);
  const auto optimizer = optim::Adam(model->parameters(), {.lr = 1e-3});
  const DataLoader loader(data::FashionMNIST("", true, t::Compose({t::ToTensor(), t::Normalize(0.5, 0.5)})),
                          {.batch_size = 32,
                           .sampler = std::make_shared<DistributedSampler>(
                               60'000, DistributedSamplerOptions{.num_replicas = 2, .rank = 1, .seed = 42})});
  auto iterator = loader.epoch(1);
  for (const auto& theirs : read_json(dir / "losses.json")) {
    const auto batch = iterator.next();
    auto loss = torch::nn::functional::cross_entropy(model(batch->input), batch->target);
    for (auto& p : model->parameters()) p.mutable_grad() = torch::Tensor();
    loss.backward();
    optimizer->step();
    CHECK(loss.item<double>() == Approx(theirs.get<double>()).margin(1e-4));
  }
}

}  // namespace reference_test
