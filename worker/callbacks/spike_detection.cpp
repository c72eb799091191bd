#include <rtrain/callbacks/spike_detection.h>

#include "worker/runtime/json.h"

#include <rtrain/trainer.h>

#include <cmath>
#include <fstream>
#include <numeric>

namespace rtrain {

TrainingSpike::TrainingSpike(std::int64_t batch_idx)
    : std::runtime_error("SpikeDetection: the loss of batch " + std::to_string(batch_idx) + " is a spike"),
      batch_idx_(batch_idx) {}

SpikeDetection::SpikeDetection(SpikeDetectionOptions options) : options_(std::move(options)) {
  std::string problems;
  if (options_.mode != "min" && options_.mode != "max")
    problems += "\n  mode is \"" + options_.mode + "\", expected \"min\" or \"max\"";
  if (options_.window < 1)
    problems += "\n  window is " + std::to_string(options_.window) + ", expected 1 or more";
  if (options_.warmup < 0)
    problems += "\n  warmup is " + std::to_string(options_.warmup) + ", expected 0 or more";
  if (!problems.empty())
    throw std::invalid_argument("SpikeDetection: these options cannot be used:" + problems);
}

bool SpikeDetection::is_spike(double loss) const {
  if (!std::isfinite(loss)) return options_.finite_only;
  if (options_.mode == "min" ? loss <= last_ : loss >= last_) return false;
  const double mean = window_.empty() ? 0
                                      : std::accumulate(window_.begin(), window_.end(), 0.0) /
                                            static_cast<double>(window_.size());
  const double away = std::abs(loss - mean);
  return (!options_.atol || away >= std::abs(*options_.atol)) &&
         (!options_.rtol || away >= std::abs(*options_.rtol * mean));
}

void SpikeDetection::on_train_batch_end(Trainer& trainer, LightningModule&, const StepOutput& output,
                                        const Batch&, std::int64_t batch_idx) {
  if (!output.loss.defined()) return;  // on every rank alike
  const auto loss = output.loss.detach().to(torch::kDouble).item<double>();
  const bool own = batch_idx >= options_.warmup && is_spike(loss);
  if (!trainer.strategy().reduce_boolean_decision(own, /*all=*/false)) {
    if (!std::isfinite(loss)) return;
    window_.push_back(loss);
    if (static_cast<std::int64_t>(window_.size()) > options_.window) window_.pop_front();
    last_ = loss;
    return;
  }
  bad_batches_.push_back(batch_idx - 1);
  bad_batches_.push_back(batch_idx);
  if (trainer.is_global_zero()) {
    auto path =
        options_.exclude_batches_path.empty() ? trainer.default_root_dir() : options_.exclude_batches_path;
    if (path.extension() != ".json") path /= "skip_batches.json";
    if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
    std::ofstream out(path);
    out << runtime::dump_json_pretty(bad_batches_) << '\n';
    out.close();
    if (!out) throw std::runtime_error("SpikeDetection: " + path.string() + " could not be written");
  }
  throw TrainingSpike(batch_idx);
}

nlohmann::json SpikeDetection::state_dict() const {
  return {{"last", last_}, {"window", window_}, {"bad_batches", bad_batches_}};
}

void SpikeDetection::load_state_dict(const nlohmann::json& state) {
  last_ = state.at("last").get<double>();
  window_ = state.at("window").get<std::deque<double>>();
  bad_batches_ = state.at("bad_batches").get<std::vector<std::int64_t>>();
}

}  // namespace rtrain
