// How a checkpoint folder is read back.
#include "worker/trainer/checkpoint_parts.h"

#include "worker/checkpoint/checked_file.h"
#include "worker/runtime/json.h"

#include <torch/torch.h>

#include <array>
#include <charconv>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

namespace fs = std::filesystem;

using namespace checkpoint_parts;

[[noreturn]] void fail_reading(const fs::path& path, const std::string& what) {
  throw std::runtime_error("checkpoint " + path.string() + ": " + what);
}

StateTree tree_of(const std::map<std::string, torch::Tensor>& tensors) {
  StateTree tree;
  for (const auto& [name, tensor] : tensors) tree.emplace(name, tensor);
  return tree;
}

/// "7.loss", as version 1 had it, is "training_step.loss".
std::string metric_of_version_1(const std::string& key) {
  static constexpr std::array kHooks{Hook::kNone,           Hook::kNone,
                                     Hook::kTrainStart,     Hook::kTrainEpochStart,
                                     Hook::kTrainEpochEnd,  Hook::kTrainBatchStart,
                                     Hook::kTrainBatchEnd,  Hook::kTrainingStep,
                                     Hook::kBeforeZeroGrad, Hook::kBeforeBackward,
                                     Hook::kAfterBackward,  Hook::kBeforeOptimizerStep};
  const auto point = key.find('.');
  std::size_t number = kHooks.size();
  std::from_chars(key.data(), key.data() + std::min(point, key.size()), number);
  return point == std::string::npos || number >= kHooks.size()
             ? key
             : facts_of(kHooks[number]).name + key.substr(point);
}

nlohmann::json read_json(const CheckedFolder& folder, const std::string& file) {
  auto json = runtime::parse_json(folder.text(file));
  if (!json) fail_reading(folder.path() / file, "is not valid JSON: " + json.error().message());
  return std::move(*json);
}

}  // namespace

TrainerCheckpoint Trainer::Impl::read(const fs::path& path) {
  const auto rank = run.placement.global_rank;
  auto own = run.plan->module_state();
  auto& mesh = run.strategy().mesh();
  // What the ranks of a tensor group hold is no range of the file in general, and what a stage holds is not
  // spread over a shard group: they read it whole.
  if (!is_shared(own) || mesh.degrees().tensor > 1 || mesh.degrees().pipeline > 1)
    return read_checkpoint(path, rank, io());
  auto& ranks = mesh.group(Axis::kShard);
  const auto exchange = [&](std::optional<Crc32cPieces::State> state) {
    const auto numbers = torch::tensor(
        {static_cast<std::int64_t>(state ? 1 : 0), static_cast<std::int64_t>(state ? state->bytes : 0),
         static_cast<std::int64_t>(state ? state->sum : 0)},
        torch::kInt64);
    std::vector<std::optional<Crc32cPieces::State>> all;
    for (const auto& of_rank : ranks.all_gather(numbers.to(run.placement.device))) {
      const auto sent = of_rank.cpu();
      const auto* at = sent.const_data_ptr<std::int64_t>();
      auto& other = all.emplace_back();
      if (at[0] == 1)
        other = Crc32cPieces::State{static_cast<std::uint64_t>(at[1]), static_cast<std::uint32_t>(at[2])};
    }
    return all;
  };
  const ShardedRead sharded{std::move(own),
                            {.is_first = mesh.coordinate(Axis::kShard) == 0, .exchange = exchange}};
  return read_checkpoint(path, rank, io(), &sharded);
}

TrainerCheckpoint read_checkpoint(const fs::path& given, int rank, CheckpointIO& io,
                                  const ShardedRead* sharded) {
  auto path = given;
  auto files = io.open(path);
  const bool exists = files != nullptr;
  const auto has_model = [&] {
    return files && (files->open(kModel) != nullptr || files->open(kIndex) != nullptr);
  };
  if (!has_model()) {
    path /= kReported;
    files = io.open(path);
  }
  if (!has_model()) {
    fail_reading(given, exists ? "holds neither " + std::string(kModel) + " nor " + kIndex + ", nor has it " +
                                     kReported + "/" + kModel
                               : "there is no such folder");
  }
  const CheckedFolder folder(std::move(files), path);
  TrainerCheckpoint content;
  const auto load = [&](const std::string& file, const auto& elements) {
    return sharded == nullptr ? tree_of(folder.load(file))
                              : folder.load_part(file, elements(sharded->own), sharded->readers);
  };
  if (!folder.has(kIndex)) {
    content.model = load(kModel, elements_of);
  } else {
    const auto index = tensors::parse_shard_index(folder.text(kIndex), (path / kIndex).string());
    if (!index) throw std::runtime_error(index.error().message());
    if (const auto twice = tensors::second_weights(*index, folder.has(kModel)); !twice.empty())
      fail_reading(path / kIndex, twice);
    for (const auto& file : index->files()) content.model.merge(load(file, elements_of));
    for (const auto& [name, file] : index->weight_map)
      if (!content.model.contains(name))
        fail_reading(path / kIndex, "weight_map: " + name + " is not in " + file);
  }
  if (!folder.has(kLoop)) return content;  // bare weights
  content.loop = read_json(folder, kLoop);
  if (!content.loop.is_object() || content.loop.value("format", "") != kLoopFormat)
    fail_reading(path / kLoop, "is not rtrain's loop.json");
  if (content.loop.value("version", 0) > kVersion) {
    fail_reading(path / kLoop, "has version " + runtime::dump_json(content.loop["version"]) +
                                   ", this rtrain reads up to " + std::to_string(kVersion));
  }
  content.callbacks = content.loop.value("callbacks", nlohmann::json::object());
  content.module = content.loop.value("module", nlohmann::json::object());
  if (folder.has(kOptimizer)) content.optimizer = load(kOptimizer, elements_of_optimizers);
  if (folder.has(kExtra)) content.tensors = tree_of(folder.load(kExtra));
  if (folder.has(rank_file(rank))) content.rank = folder.load(rank_file(rank));
  if (content.loop.value("version", 0) < 2) {
    for (const auto& [key, sums] : with_prefix(content.rank, "metric.")) {
      content.rank.erase("metric." + key);
      content.rank.emplace("metric." + metric_of_version_1(key), sums);
    }
  }
  return content;
}

bool Trainer::Impl::left_by_earlier_attempt(const fs::path& path) {
  if (writer.run.empty()) return false;
  auto files = io().open(path);
  try {
    if (!files || !files->open(kLoop)) return false;
    const auto loop = read_json(CheckedFolder(std::move(files), path), kLoop);
    const auto before = CheckpointWriter::of(loop);
    return writer.retries(before) && before.fit == writer.fit &&
           loop.value("global_step", std::int64_t{0}) > resumed_step;
  } catch (const std::exception&) {
    return false;  // whatever it is, it is not known to be ours
  }
}

}  // namespace rtrain
