#include "worker/step/staged_pass.h"

#include "worker/run/text_checksum.h"
#include "worker/runtime/json.h"

#include <rtrain/backward_options.h>

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

nlohmann::json optional_of(const auto& value) { return value ? nlohmann::json(*value) : nlohmann::json(); }

template <class T>
std::optional<T> optional_in(const nlohmann::json& json) {
  return json.is_null() ? std::nullopt : std::optional<T>(json.get<T>());
}

/// All of a line but its value.
nlohmann::json json_of(const LogTape::Line& line) {
  const auto& o = line.options;
  return {{"hook", static_cast<int>(line.hook)},
          {"name", line.name},
          {"type", static_cast<int>(line.value.scalar_type())},
          {"on_step", optional_of(o.on_step)},
          {"on_epoch", optional_of(o.on_epoch)},
          {"prog_bar", o.prog_bar},
          {"logger", o.logger},
          {"reduce_fx", static_cast<int>(o.reduce_fx)},
          {"sync_dist", o.sync_dist},
          {"batch_size", optional_of(o.batch_size)},
          {"rank_zero_only", o.rank_zero_only},
          {"add_dataloader_idx", o.add_dataloader_idx}};
}

LogTape::Line line_of(const nlohmann::json& json) {
  return {static_cast<Hook>(json.at("hook").get<int>()),
          json.at("name").get<std::string>(),
          {},
          {.on_step = optional_in<bool>(json.at("on_step")),
           .on_epoch = optional_in<bool>(json.at("on_epoch")),
           .prog_bar = json.at("prog_bar").get<bool>(),
           .logger = json.at("logger").get<bool>(),
           .reduce_fx = static_cast<ReduceFx>(json.at("reduce_fx").get<int>()),
           .sync_dist = json.at("sync_dist").get<bool>(),
           .batch_size = optional_in<std::int64_t>(json.at("batch_size")),
           .rank_zero_only = json.at("rank_zero_only").get<bool>(),
           .add_dataloader_idx = json.at("add_dataloader_idx").get<bool>()}};
}

/// As the mean over a batch: each micro-batch counts by its batch_size. One of size 0 does not count, also if
/// its value is the mean of nothing.
torch::Tensor weighted_mean(const torch::Tensor& values, const std::vector<double>& weights) {
  const auto exact = values.to(torch::kDouble);
  const auto by = torch::tensor(weights, torch::kDouble).to(values.device());
  const auto total = std::accumulate(weights.begin(), weights.end(), 0.0);
  const auto mean =
      total > 0 ? torch::where(by > 0, exact * by, torch::zeros_like(exact)).sum() / total : exact.mean();
  return values.is_floating_point() ? mean.to(values.scalar_type()) : mean;
}

/// @param weights those of the values in a mean.
torch::Tensor joined(ReduceFx by, const std::vector<torch::Tensor>& values,
                     const std::vector<double>& weights) {
  if (values.size() == 1) return values.front();
  std::vector<torch::Tensor> numbers;
  for (const auto& value : values) numbers.push_back(value.reshape({}));
  const auto all = torch::stack(numbers);
  switch (by) {
    case ReduceFx::kMean: return weighted_mean(all, weights);
    case ReduceFx::kSum: return all.sum();
    case ReduceFx::kMin: return all.min();
    case ReduceFx::kMax: return all.max();
  }
  return all.mean();
}

/// The first of the losses that is not finite; -1: none.
std::int64_t first_not_finite(const std::vector<torch::Tensor>& losses) {
  for (std::size_t i = 0; i < losses.size(); ++i)
    if (!std::isfinite(losses[i].item<double>())) return static_cast<std::int64_t>(i);
  return -1;
}

/// One line a metric, in the order in which they were first logged.
/// @param samples of a micro-batch: its weight in a mean, unless the line has a batch_size.
std::vector<LogTape::Line> one_a_metric(const std::vector<LogTape::Line>& all, std::int64_t samples) {
  std::vector<LogTape::Line> lines;
  std::vector<std::vector<torch::Tensor>> values;
  std::vector<std::vector<double>> weights;
  for (const auto& line : all) {
    const auto found = std::find_if(lines.begin(), lines.end(), [&](const LogTape::Line& other) {
      return other.hook == line.hook && other.name == line.name;
    });
    const auto at = static_cast<std::size_t>(found - lines.begin());
    if (found == lines.end()) {
      lines.push_back(line);
      values.emplace_back();
      weights.emplace_back();
    } else if (line.options.batch_size || lines[at].options.batch_size) {  // a sum, as that of the batch
      const auto before =
          lines[at].options.batch_size.value_or(samples * static_cast<std::int64_t>(values[at].size()));
      lines[at].options.batch_size = before + line.options.batch_size.value_or(samples);
    }
    values[at].push_back(line.value);
    weights[at].push_back(static_cast<double>(line.options.batch_size.value_or(samples)));
  }
  for (std::size_t i = 0; i < lines.size(); ++i)
    lines[i].value = joined(lines[i].options.reduce_fx, values[i], weights[i]);
  return lines;
}

}  // namespace

/// What json_of() has written of each line.
std::vector<StagedPass::NamedValue> StagedPass::lines_in(const std::string& text) {
  const auto all = runtime::parse_json(text);
  if (!all) throw std::runtime_error("what the last stage logged: " + all.error().message());
  std::vector<NamedValue> lines;
  for (const auto& json : *all)
    lines.push_back({line_of(json), static_cast<torch::ScalarType>(json.at("type").get<int>())});
  return lines;
}

/// What the step logs goes to the tape.
struct StagedPass::Taped {
  Taped(RunContext& run, const Stages& stages)
      : metrics(run.metrics), tape(LogTape::Mode::kCarries, run.placement.device) {
    if (stages.has_last())
      for (const auto& [name, metric] : run.module->registered_metrics())
        before.push_back({name, metric, metric->update_count()});
    metrics.use_tape(&tape);
  }
  ~Taped() { metrics.use_tape(nullptr); }
  Taped(const Taped&) = delete;
  Taped& operator=(const Taped&) = delete;

  /// Also of a metric that the step only updates: rank 0 would log that of no data at the end of the epoch.
  void require_numbers() const {
    for (const auto& [name, metric, count] : before)
      if (metric->update_count() != count) refuse("updated the metric \"" + name + "\"");
    if (!tape.fault().empty()) refuse("logged a metric object");
  }
  [[noreturn]] static void refuse(const std::string& what) {
    throw std::logic_error(
        "a step of a pipeline " + what +
        ", whose state the ranks of the other stages do not have: log a number of the batch, or log its "
        "value, log(name, metric.compute()), and reset() it within the step");
  }
  struct Counted {
    std::string name;
    std::shared_ptr<Metric> metric;
    std::int64_t updates;
  };
  MetricBoard& metrics;
  LogTape tape;
  std::vector<Counted> before;  ///< the step; empty on ranks without the last stage
};

Stages::Step StagedPass::around(std::function<torch::Tensor(const Batch&)> last) const {
  return {.last = std::move(last), .forward = [this](const std::function<void()>& layers) {
            const auto types = run_.precision().forward_scope(run_.placement.device);
            layers();
          }};
}

/// As in a step without stages, but for the averaging over replicas and on_after_backward, which are the
/// batch's.
void StagedPass::backward(const torch::Tensor& scaled) {
  run_.call(Hook::kBeforeBackward, &Callback::on_before_backward, &LightningModule::on_before_backward,
            scaled);
  run_.backward = {.sync = false, .done = false};
  run_.call_module(Hook::kBackward, &LightningModule::backward, scaled, BackwardOptions());
  if (!run_.backward.done)
    throw std::logic_error(
        "backward() is overridden and does not call LightningModule::backward(loss, options), so the other "
        "stages of the pipeline would get no gradients; the override can pass it other options");
}

/// Tells the other ranks what was logged, and the loss. A row of numbers travels with each batch, and the
/// names only once.
torch::Tensor StagedPass::share(Stages& stages, const Logged& logged, const torch::Tensor& loss,
                                const std::vector<torch::Tensor>& losses) {
  const torch::NoGradGuard no_grad;
  auto& ranks = stages.ranks();
  const int last = ranks.world_size() - 1;
  constexpr std::int64_t kRow = 16;
  enum Head : std::int64_t { kChecksum, kCount, kLoss, kLossType, kNotFinite, kHead };
  auto row = torch::zeros({kHead + kRow}, torch::kDouble);
  auto* numbers = row.mutable_data_ptr<double>();
  std::vector<LogTape::Line> lines;
  std::vector<double> values;
  std::string text;
  if (stages.has_last()) {
    lines = one_a_metric(logged.lines, logged.samples);
    auto json = nlohmann::json::array();
    for (const auto& line : lines) {
      json.push_back(json_of(line));
      values.push_back(line.value.to(torch::kDouble).item<double>());
    }
    text = runtime::dump_json(json);
    numbers[kChecksum] = checksum_of_text(text);
    numbers[kCount] = static_cast<double>(values.size());
    numbers[kLoss] = loss.defined() ? loss.to(torch::kDouble).item<double>() : 0;
    numbers[kLossType] = loss.defined() ? static_cast<double>(loss.scalar_type()) : -1;
    numbers[kNotFinite] = std::isfinite(numbers[kLoss]) ? -1 : static_cast<double>(first_not_finite(losses));
    for (std::size_t i = 0; i < std::min<std::size_t>(values.size(), kRow); ++i)
      numbers[kHead + i] = values[i];
  }
  ranks.broadcast(row, last);
  const auto sum = numbers[kChecksum];
  const auto count = static_cast<std::int64_t>(numbers[kCount]);
  const auto [known, is_new] = logged_.try_emplace(sum);
  if (is_new) known->second = lines_in(ranks.broadcast_text(text, last, run_.placement.device));
  auto rest = torch::zeros({std::max<std::int64_t>(0, count - kRow)}, torch::kDouble);
  if (count > kRow) {
    for (auto i = kRow; stages.has_last() && i < count; ++i)
      rest[i - kRow] = values[static_cast<std::size_t>(i)];
    ranks.broadcast(rest, last);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const auto& [line, type] = known->second.at(static_cast<std::size_t>(i));
    const auto value = i < kRow ? row[kHead + i] : rest[i - kRow];
    run_.metrics.log(line.hook, line.name, {value.clone().to(type), 0}, line.options);
  }
  if (numbers[kNotFinite] >= 0 && !std::exchange(warned_of_loss_, true))
    warn("training_step, epoch " + std::to_string(run_.epochs.current.completed) + ", batch " +
         std::to_string(run_.batch_idx) + ": the loss of micro-batch " +
         std::to_string(static_cast<std::int64_t>(numbers[kNotFinite])) + " of " +
         std::to_string(stages.micro_batches()) +
         " (counted from 0) is not finite. If it is a mean over no terms, as with an ignore_index that "
         "leaves none, divide a sum by a fixed number instead; told once");
  if (numbers[kLossType] < 0) return {};
  return row[kLoss]
      .clone()
      .to(run_.placement.device)
      .to(static_cast<torch::ScalarType>(static_cast<int>(numbers[kLossType])));
}

torch::Tensor StagedPass::train(Stages& stages, const Batch& batch, std::int64_t batch_idx) {
  const auto parts = static_cast<double>(stages.micro_batches());
  torch::Tensor mean;
  std::vector<torch::Tensor> losses;
  std::vector<LogTape::Line> lines;
  // The scaler of every rank unscales and updates, and makes its scale where it first sees a loss.
  if (!stages.has_last())
    (void)run_.precision().scale(
        torch::zeros({}, torch::TensorOptions(run_.placement.device).dtype(torch::kFloat32)));
  {
    const Taped taped(run_, stages);
    auto step = around([&](const Batch& micro_batch) {
      const auto output =
          run_.call_step(Hook::kTrainingStep, &LightningModule::training_step, micro_batch, batch_idx);
      if (!output.loss.defined())
        throw std::logic_error(
            "training_step returned no loss, and a pipeline needs one of every micro-batch");
      if (!output.extras.empty())
        throw std::logic_error("training_step returned \"" + output.extras.begin()->first +
                               "\" beside the loss, and the hooks of a pipeline get the loss alone: "
                               "log it, or keep it in the module");
      if (output.loss.numel() != 1 || !output.loss.requires_grad())
        throw std::logic_error("training_step returned a tensor of " + std::to_string(output.loss.numel()) +
                               " elements" +
                               (output.loss.requires_grad() ? "" : " that depends on no parameter") +
                               ", expected the loss: one element with a graph");
      const auto part = output.loss / (parts * static_cast<double>(run_.accumulate));
      losses.push_back(part.detach());
      mean = mean.defined() ? mean + losses.back() : losses.back();
      return run_.precision().scale(part);
    });
    step.backward = [this](const torch::Tensor& scaled) { backward(scaled); };
    stages.train(batch, step);
    taped.require_numbers();
    lines = taped.tape.lines();
  }
  return share(stages, {lines, batch.size() / stages.micro_batches()}, mean, losses);
}

torch::Tensor StagedPass::evaluate(Stages& stages, Hook at, EvaluationStep step, const Batch& batch,
                                   std::int64_t batch_idx) {
  torch::Tensor output;
  std::vector<LogTape::Line> lines;
  {
    const Taped taped(run_, stages);
    output = stages.evaluate(
        batch, around([&](const Batch& whole) { return run_.call_step(at, step, whole, batch_idx); }));
    taped.require_numbers();
    lines = taped.tape.lines();
  }
  (void)share(stages, {lines, batch.empty() ? 1 : batch.size()}, {}, {});
  if (at != Hook::kPredictStep) return output;
  // Predictions are for rank 0, too.
  auto& ranks = stages.ranks();
  const int last = ranks.world_size() - 1;
  nlohmann::json form;
  if (output.defined())
    form = {{"type", static_cast<int>(output.scalar_type())}, {"sizes", output.sizes().vec()}};
  const auto told =
      runtime::parse_json(ranks.broadcast_text(runtime::dump_json(form), last, run_.placement.device));
  if (!told) throw std::runtime_error("the form of a prediction: " + told.error().message());
  if (told->is_null()) return {};
  auto values = output.defined()
                    ? output.contiguous()
                    : torch::empty(told->at("sizes").get<std::vector<std::int64_t>>(),
                                   torch::TensorOptions(run_.placement.device)
                                       .dtype(static_cast<torch::ScalarType>(told->at("type").get<int>())));
  ranks.broadcast(values, last);
  return values;
}

}  // namespace rtrain
