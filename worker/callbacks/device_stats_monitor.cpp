#include <rtrain/callbacks/device_stats_monitor.h>

#include <rtrain/trainer.h>

#include <c10/core/CachingDeviceAllocator.h>

#include <array>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>

namespace rtrain {
namespace {

/// Of /proc/meminfo, in KiB.
std::map<std::string, double> memory_of_machine() {
  std::map<std::string, double> values;
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name;
    double value = 0;
    if (words >> name >> value && !name.empty()) values[name.substr(0, name.size() - 1)] = value;
  }
  return values;
}

double percent_used(double total, double left) { return total > 0 ? 100 * (total - left) / total : 0; }

void add_stats(Metrics& row, const std::string& name, const c10::CachingAllocator::StatArray& stats) {
  static constexpr std::array kPools{"all", "small_pool", "large_pool"};
  for (std::size_t pool = 0; pool < kPools.size(); ++pool) {
    const auto& stat = stats.at(pool);
    const auto begin = name + "." + kPools.at(pool) + ".";
    row[begin + "current"] = static_cast<double>(stat.current);
    row[begin + "peak"] = static_cast<double>(stat.peak);
    row[begin + "allocated"] = static_cast<double>(stat.allocated);
    row[begin + "freed"] = static_cast<double>(stat.freed);
  }
}

}  // namespace

void DeviceStatsMonitor::setup(Trainer& trainer, LightningModule&, Stage stage) {
  if (stage == Stage::kFit && trainer.options().loggers.empty() && trainer.options().fast_dev_run == 0)
    throw std::invalid_argument(
        "DeviceStatsMonitor: the Trainer has no logger to write to; set TrainerOptions::loggers");
}

void DeviceStatsMonitor::on_train_batch_start(Trainer& trainer, LightningModule&, const Batch&,
                                              std::int64_t) {
  log_stats(trainer, "on_train_batch_start");
}
void DeviceStatsMonitor::on_train_batch_end(Trainer& trainer, LightningModule&, const StepOutput&,
                                            const Batch&, std::int64_t) {
  log_stats(trainer, "on_train_batch_end");
}

void DeviceStatsMonitor::log_stats(Trainer& trainer, const std::string& hook) {
  if (!trainer.is_global_zero() || !trainer.logs_this_step()) return;
  Metrics stats;
  const auto device = trainer.device();
  if (!device.is_cpu()) {
    if (auto* const allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()))) {
      const auto of_device = allocator->getDeviceStats(device.index());
      add_stats(stats, "allocation", of_device.allocation);
      add_stats(stats, "allocated_bytes", of_device.allocated_bytes);
      add_stats(stats, "reserved_bytes", of_device.reserved_bytes);
      add_stats(stats, "active_bytes", of_device.active_bytes);
      add_stats(stats, "inactive_split_bytes", of_device.inactive_split_bytes);
      stats["num_alloc_retries"] = static_cast<double>(of_device.num_alloc_retries);
      stats["num_ooms"] = static_cast<double>(of_device.num_ooms);
    }
  }
  if (cpu_stats_.value_or(device.is_cpu())) {
    auto memory = memory_of_machine();
    stats["cpu_vm_percent"] = percent_used(memory["MemTotal"], memory["MemAvailable"]);
    stats["cpu_swap_percent"] = percent_used(memory["SwapTotal"], memory["SwapFree"]);
    std::ifstream in("/proc/stat");
    std::string cpu;
    double busy = 0, total = 0;
    in >> cpu;
    double value = 0;
    for (int column = 0; column < 8 && in >> value; ++column) {
      total += value;
      if (column != 3 && column != 4) busy += value;  // idle, iowait
    }
    const auto since = total - total_before_;
    stats["cpu_percent"] = since > 0 ? 100 * (busy - busy_before_) / since : 0;
    busy_before_ = busy;
    total_before_ = total;
  }
  Metrics row;
  for (const auto& [name, number] : stats) row.emplace("DeviceStatsMonitor." + hook + "/" + name, number);
  if (!row.empty()) trainer.log_metrics(row);
}

}  // namespace rtrain
