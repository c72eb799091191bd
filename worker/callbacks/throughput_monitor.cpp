#include <rtrain/callbacks/throughput_monitor.h>

#include "worker/callbacks/device_name.h"
#include "worker/run/data_ranks.h"
#include "worker/runtime/problems.h"

#include <rtrain/trainer.h>

#include <array>
#include <chrono>
#include <stdexcept>

namespace rtrain {
namespace {

/// NVIDIA's data sheets, without sparsity. The first name that is in a device's counts.
struct Peak {
  const char* device;
  double half, tf32, single;
};
constexpr std::array kPeaks{
    Peak{"H200", 989.4e12, 494.7e12, 66.9e12},   Peak{"H100 PCIe", 756e12, 378e12, 51.2e12},
    Peak{"H100 NVL", 835.5e12, 417.7e12, 60e12}, Peak{"H100", 989.4e12, 494.7e12, 66.9e12},
    Peak{"A100", 312e12, 156e12, 19.5e12},       Peak{"L40S", 362.05e12, 183e12, 91.6e12},
    Peak{"L4", 121e12, 60e12, 30.3e12},          Peak{"A10G", 70e12, 35e12, 31.2e12},
    Peak{"A10", 125e12, 62.5e12, 31.2e12},       Peak{"A30", 165e12, 82e12, 10.3e12},
    Peak{"A40", 149.7e12, 74.8e12, 37.4e12},     Peak{"V100", 125e12, 15.7e12, 15.7e12},
    Peak{"T4", 65e12, 8.1e12, 8.1e12},
};

}  // namespace

double peak_flops(const std::string& device, const std::string& precision) {
  const bool half = precision.starts_with("bf16") || precision.starts_with("16");
  if (!half && precision != "32-true") return 0;
  for (const auto& peak : kPeaks)
    if (device.find(peak.device) != std::string::npos) return half ? peak.half : peak.single;
  return 0;
}

ThroughputMonitor::ThroughputMonitor(ThroughputMonitorOptions options) : options_(std::move(options)) {
  Problems problems;
  problems.expect(options_.window_size >= 2, "window_size", std::to_string(options_.window_size),
                  "2 or more");
  if (!(options_.flops_per_batch >= 0)) problems.add("flops_per_batch is below 0 or no number");
  if (!(options_.available_flops >= 0)) problems.add("available_flops is below 0 or no number");
  problems.throw_if_any_option("ThroughputMonitor");
}

double ThroughputMonitor::now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void ThroughputMonitor::setup(Trainer& trainer, LightningModule&, Stage stage) {
  if (stage != Stage::kFit) return;
  if (trainer.options().loggers.empty() && trainer.options().fast_dev_run == 0)
    throw std::invalid_argument(
        "ThroughputMonitor: the Trainer has no logger to write to; set TrainerOptions::loggers");
  if (options_.available_flops == 0 && options_.flops_per_batch > 0)
    options_.available_flops = peak_flops(name_of_device(trainer.device()), trainer.precision());
}

void ThroughputMonitor::on_train_start(Trainer&, LightningModule&) {
  total_ = {};
  window_.clear();
  started_ = now();
}

void ThroughputMonitor::on_validation_start(Trainer&, LightningModule&) { validation_began_ = now(); }
void ThroughputMonitor::on_validation_end(Trainer& trainer, LightningModule&) {
  if (trainer.fitting() && !trainer.sanity_checking()) started_ += now() - validation_began_;
}

void ThroughputMonitor::on_train_batch_end(Trainer& trainer, LightningModule&, const StepOutput&,
                                           const Batch& batch, std::int64_t) {
  const auto samples = options_.batch_size_fn ? options_.batch_size_fn(batch) : batch.size();
  total_.samples += samples;
  if (options_.length_fn) total_.lengths += options_.length_fn(batch);
  ++total_.batches;
  total_.time = now() - started_;
  window_.push_back(total_);
  if (static_cast<std::int64_t>(window_.size()) > options_.window_size) window_.pop_front();
  if (!trainer.is_global_zero() || !trainer.logs_this_step()) return;

  const auto name = [&](const std::string& of) { return "train" + options_.separator + of; };
  Metrics row{{name("time"), total_.time},
              {name("batches"), static_cast<double>(total_.batches)},
              {name("samples"), static_cast<double>(total_.samples)}};
  if (options_.length_fn) row[name("lengths")] = static_cast<double>(total_.lengths);
  const auto& first = window_.front();
  const double elapsed = total_.time - first.time;
  if (static_cast<std::int64_t>(window_.size()) == options_.window_size && elapsed > 0) {
    const auto world = data_ranks(trainer.strategy().mesh(), trainer.world_size());
    const auto rate = [&](const char* what, double amount) {
      row[name("device" + options_.separator + what)] = amount / elapsed;
      if (world > 1) row[name(what)] = amount / elapsed * world;
    };
    const auto batches = static_cast<double>(total_.batches - first.batches);
    rate("batches_per_sec", batches);
    rate("samples_per_sec", static_cast<double>(total_.samples - first.samples));
    if (options_.length_fn) rate("items_per_sec", static_cast<double>(total_.lengths - first.lengths));
    if (options_.flops_per_batch > 0) {
      rate("flops_per_sec", batches * options_.flops_per_batch);
      if (options_.available_flops > 0)
        row[name("device" + options_.separator + "mfu")] =
            batches * options_.flops_per_batch / elapsed / options_.available_flops;
    }
  }
  trainer.log_metrics(row);
}

RTRAIN_REGISTER_OPTIONS(Callback, "ThroughputMonitor", ThroughputMonitor, ThroughputMonitorOptions,
                        window_size, separator, flops_per_batch, available_flops);

}  // namespace rtrain
