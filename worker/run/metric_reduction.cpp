#include "worker/run/metric_reduction.h"

#include "worker/run/text_checksum.h"
#include "worker/runtime/roll_call.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

enum Head : std::int64_t { kChecksum, kTextBytes, kHeadSize };  // what a row begins with

const char* name_of(ReduceFx fx) {
  switch (fx) {
    case ReduceFx::kMean: return "mean";
    case ReduceFx::kSum: return "sum";
    case ReduceFx::kMin: return "min";
    case ReduceFx::kMax: return "max";
  }
  return "";
}

bool same_checksums(const torch::Tensor& rows) {
  return rows.select(1, kChecksum).eq(rows[0][kChecksum]).all().item<bool>();
}

}  // namespace

std::vector<torch::Tensor> MetricReduction::run(const std::vector<MetricPart>& parts, bool check,
                                                Strategy& strategy) {
  const torch::NoGradGuard no_grad;
  const auto device = strategy.device();
  std::vector<std::size_t> order(parts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return parts[a].name < parts[b].name; });
  std::string text;
  for (const auto i : order)
    text += (text.empty() ? "" : ", ") + parts[i].name + " (" + name_of(parts[i].fx) + ")";
  if (text.empty()) text = "none";

  // Numbers go into a row on the CPU first: one copy to the device. Tensors of the device are put in there.
  const auto count = static_cast<std::int64_t>(parts.size());
  // Pinned for a GPU: from other memory the copy would wait for all that the GPU still has to do.
  auto host = torch::zeros({kHeadSize + 2 * count},
                           torch::TensorOptions().dtype(torch::kFloat64).pinned_memory(device.is_cuda()));
  auto* numbers = host.data_ptr<double>();
  numbers[kChecksum] = checksum_of_text(text);
  numbers[kTextBytes] = static_cast<double>(text.size());
  for (std::size_t k = 0; k < order.size(); ++k) {
    const auto& part = parts[order[k]];
    const bool on_host = !part.total.defined() || part.total.is_cpu();
    numbers[kHeadSize + 2 * k] = !part.total.defined() ? part.number
                                 : on_host             ? part.total.item<double>()
                                                       : 0;
    numbers[kHeadSize + 2 * k + 1] = part.weight;
  }
  auto own = host.to(device, /*non_blocking=*/true);
  for (std::size_t k = 0; k < order.size(); ++k) {
    const auto& total = parts[order[k]].total;
    if (total.defined() && !total.is_cpu()) own[static_cast<std::int64_t>(kHeadSize + 2 * k)].copy_(total);
  }

  const bool is_new = seen_.insert(numbers[kChecksum]).second;
  const auto carried = std::min(count, capacity_);
  auto row = torch::zeros({kHeadSize + 2 * capacity_}, own.options());
  row.narrow(0, 0, kHeadSize + 2 * carried).copy_(own.narrow(0, 0, kHeadSize + 2 * carried));
  std::vector<torch::Tensor> gathered;
  try {
    gathered = strategy.mesh().loss_group().all_gather(row);
  } catch (const std::exception& error) {
    throw std::runtime_error("metrics with sync_dist (" + text + "): " + error.what());
  }
  auto rows = torch::stack(gathered).narrow(1, 0, kHeadSize + 2 * carried);
  if (device.is_cpu() || is_new || check) {
    if (!same_checksums(rows)) refuse(text, gathered, strategy);
  } else {
    const auto differs = rows.select(1, kChecksum).ne(rows[0][kChecksum]).any();
    differs_ = differs_.defined() ? differs_.logical_or(differs) : differs;
  }
  if (count > capacity_) {  // the same on every rank: the checksums of a new set were compared
    const auto rest = strategy.mesh().loss_group().all_gather(
        own.narrow(0, kHeadSize + 2 * carried, 2 * (count - carried)).contiguous());
    rows = torch::cat({rows, torch::stack(rest)}, 1);
    capacity_ = count;
  }

  std::vector<torch::Tensor> results(parts.size());
  for (std::size_t k = 0; k < order.size(); ++k) {
    const auto at = static_cast<std::int64_t>(kHeadSize + 2 * k);
    const auto totals = rows.select(1, at);
    auto& result = results[order[k]];
    switch (parts[order[k]].fx) {
      case ReduceFx::kMean: result = totals.sum() / rows.select(1, at + 1).sum(); break;
      case ReduceFx::kSum: result = totals.sum(); break;
      case ReduceFx::kMin: result = totals.min(); break;
      case ReduceFx::kMax: result = totals.max(); break;
    }
  }
  return results;
}

void MetricReduction::check() {
  const auto differs = std::exchange(differs_, {});
  if (!differs.defined() || !differs.item<bool>()) return;
  throw std::runtime_error(
      "the ranks logged different metrics with sync_dist in the steps of this epoch; every rank must log the "
      "same ones with the same reduction");
}

void MetricReduction::refuse(const std::string& own, const std::vector<torch::Tensor>& rows,
                             Strategy& strategy) {
  const std::string rule =
      "every rank must log the same metrics with sync_dist, with the same reduction; now they are: ";
  // On a GPU the ranks to which their set is not new do not look now, and take no part in an exchange of the
  // names.
  if (!strategy.device().is_cpu()) {
    std::vector<std::string> sums;
    for (const auto& row : rows)
      sums.push_back(row[kChecksum].item<double>() == checksum_of_text(own) ? own : "others");
    throw std::runtime_error(rule + runtime::grouped_by_value(sums));
  }
  std::int64_t longest = 0;
  for (const auto& row : rows)
    longest = std::max(longest, static_cast<std::int64_t>(row[kTextBytes].item<double>()));
  auto text = torch::zeros({longest}, torch::kUInt8);
  std::memcpy(text.data_ptr(), own.data(), own.size());
  std::vector<std::string> texts;
  for (const auto& other : strategy.mesh().loss_group().all_gather(text))
    texts.emplace_back(static_cast<const char*>(other.data_ptr()), static_cast<std::size_t>(longest));
  for (auto& other : texts) other.resize(std::strlen(other.c_str()));
  throw std::runtime_error(rule + runtime::grouped_by_value(texts));
}

}  // namespace rtrain
