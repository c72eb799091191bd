// What a run of a Trainer reads: whose loaders, which part of them, and how many batches.
#include "worker/loops/batch_limit.h"
#include "worker/run/warn.h"
#include "worker/trainer/samplers.h"
#include "worker/trainer/trainer_impl.h"

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace rtrain {
namespace {

/// Where the loaders of a stage come from, and how many batches of each are read.
struct Source {
  const char* what;  ///< for messages
  const char* hook;
  Hook at;
  DataLoaders (LightningModule::*of_module)();
  DataLoaders (LightningDataModule::*of_data)();
  BatchCount TrainerOptions::*limit;
  const char* limit_name;
};

const Source& source_of(Stage stage) {
  using M = LightningModule;
  using D = LightningDataModule;
  using O = TrainerOptions;
  static const Source kTraining{"training",           "train_dataloader()", Hook::kTrainDataloader,
                                &M::train_dataloader, &D::train_dataloader, &O::limit_train_batches,
                                "limit_train_batches"};
  static const Source kValidation{"validation",       "val_dataloader()", Hook::kValDataloader,
                                  &M::val_dataloader, &D::val_dataloader, &O::limit_val_batches,
                                  "limit_val_batches"};
  static const Source kTesting{"test",
                               "test_dataloader()",
                               Hook::kTestDataloader,
                               &M::test_dataloader,
                               &D::test_dataloader,
                               &O::limit_test_batches,
                               "limit_test_batches"};
  static const Source kPrediction{"prediction",           "predict_dataloader()", Hook::kPredictDataloader,
                                  &M::predict_dataloader, &D::predict_dataloader, &O::limit_predict_batches,
                                  "limit_predict_batches"};
  switch (stage) {
    case Stage::kTrain: return kTraining;
    case Stage::kTest: return kTesting;
    case Stage::kPredict: return kPrediction;
    default: return kValidation;
  }
}

}  // namespace

DataLoader Trainer::Impl::distributed(const DataLoader& loader, Stage loader_stage) const {
  const bool overfits = !run.options.overfit_batches.is_zero() &&
                        (loader_stage == Stage::kTrain || loader_stage == Stage::kValidate);
  const auto part = run.strategy().mesh().data();
  if (loader.is_stream())
    return run.options.use_distributed_sampler ? loader.with_ranks(part.rank, part.size) : loader;
  // An elastic job that has shrunk to one rank keeps the order of the others.
  const bool shared = part.size > 1 || get_context().get_max_world_size() > run.placement.world_size;
  if (overfits && loader.sampler().shuffle_seed()) {
    warn("overfit_batches: the data is shuffled; for this run its order is that of the data set");
    if (!shared || !run.options.use_distributed_sampler)
      return loader.with_sampler(std::make_shared<SequentialSampler>(loader.dataset()->size()));
  }
  if (!run.options.use_distributed_sampler || !shared) return loader;
  if (loader.batch_sampler() != nullptr)
    return loader.with_batch_sampler(
        own_batches(loader, part.size, part.rank, /*pad=*/loader_stage != Stage::kPredict));
  const auto& sampler = loader.sampler();
  if (sampler.is_distributed()) return loader;
  if (loader_stage == Stage::kPredict)
    return loader.with_sampler(own_part_without_padding(loader, part.size, part.rank));
  // Lightning shuffles for training always, and elsewhere when the loader itself shuffles.
  const auto own_seed = sampler.shuffle_seed();
  const bool shuffle = (loader_stage == Stage::kTrain || own_seed) && !overfits;
  const auto seed = own_seed.value_or(loader.options().seed);  // as with one rank: the loader's own
  return loader.with_sampler(
      own_part(loader, {.num_replicas = part.size, .rank = part.rank, .shuffle = shuffle, .seed = seed}));
}

DataLoaders Trainer::Impl::loaders(Stage stage, const DataLoaders& given) {
  const auto& source = source_of(stage);
  if (given.defined()) return given;
  if (run.data != nullptr) {
    const RunContext::HookScope scope(run, source.at);
    if (auto own = (run.data->*source.of_data)(); own.defined()) return own;
  }
  return run.call_module(source.at, source.of_module);
}

std::int64_t Trainer::Impl::batches_of_epoch() {
  if (fit_loop.max_batches() > 0) return fit_loop.max_batches();
  if (!made_training) made_training = training_data(given_training);
  return made_training->size();
}

BatchSource Trainer::Impl::training_data(const DataLoaders& given) {
  if (auto made = std::exchange(made_training, std::nullopt)) return std::move(*made);
  const auto& source = source_of(Stage::kTrain);
  const auto all = loaders(Stage::kTrain, given);
  if (!all.defined())
    throw std::invalid_argument("fit: no training data: pass a DataLoader or override train_dataloader()");
  const auto mode = all.mode().value_or(CombineMode::kMaxSizeCycle);
  if (mode == CombineMode::kSequential)
    throw std::invalid_argument(
        "fit: training cannot read its loaders one after the other (CombinedLoader with \"sequential\"); use "
        "\"min_size\", \"max_size_cycle\" or \"max_size\"");
  auto named = all.all();
  for (auto& [name, loader] : named)
    loader = resident.bring(distributed(loader, Stage::kTrain), run.placement.device);
  const auto& limit = run.options.*source.limit;
  BatchSource data(std::move(named), mode, limit, source.limit_name);
  if (data.is_empty() && !limit.is_zero())
    warn("fit() stopped: no training batches (" + data.parts() +
         "): a smaller batch_size, or a loader that keeps the last batch, gives some");
  return data;
}

EvaluationData Trainer::Impl::evaluation_data(Stage stage, const DataLoaders& given) {
  const auto& source = source_of(stage);
  const auto all = loaders(stage, given);
  if (!all.defined() && run.function != Stage::kFit)
    throw std::invalid_argument(std::string("no data to evaluate: pass a DataLoader or override ") +
                                source.hook);
  auto named = all.all();
  for (auto& [name, loader] : named)
    loader = resident.bring(distributed(loader, stage), run.placement.device);
  const auto& limit = run.options.*source.limit;
  EvaluationData data;
  if (const auto mode = all.mode().value_or(CombineMode::kSequential); mode != CombineMode::kSequential) {
    data.sources.emplace_back(std::move(named), mode, limit, source.limit_name);
  } else {
    for (auto& one : named)
      data.sources.emplace_back(std::vector{std::move(one)}, mode, limit, source.limit_name);
  }
  for (const auto& one : data.sources) {
    // Streams that are equally long by what they say may still end apart.
    data.same_everywhere =
        run.is_same_on_every_rank(one.has_stream() ? -1 - run.placement.global_rank : one.size()) &&
        data.same_everywhere;
    if (one.is_empty() && !limit.is_zero())
      warn(std::string("the ") + source.what + " data yields no batch (" + one.parts() +
           "): there is nothing to compute");
  }
  return data;
}

}  // namespace rtrain
