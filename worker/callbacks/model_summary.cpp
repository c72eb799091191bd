#include <rtrain/callbacks/model_summary.h>

#include "worker/callbacks/layer_sizes.h"
#include "worker/run/overridden.h"

#include <rtrain/trainer.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <set>
#include <stdexcept>

namespace rtrain {
namespace {

/// "Linear" of "torch::nn::LinearImpl", also for templates.
std::string short_type(std::string name) {
  if (const auto arguments = name.find('<'); arguments != std::string::npos) name.resize(arguments);
  if (const auto scope = name.rfind("::"); scope != std::string::npos) name.erase(0, scope + 2);
  if (name.size() > 4 && name.ends_with("Impl")) name.resize(name.size() - 4);
  return name;
}

/// "96", "54.1 K", "217 M": three digits and a group, as Lightning.
std::string short_count(std::int64_t number) {
  static constexpr std::array kGroups{"", " K", " M", " B", " T"};
  auto value = static_cast<double>(number);
  std::size_t group = 0;
  for (; value >= 1000 && group + 1 < kGroups.size(); ++group) value /= 1000;
  std::array<char, 40> text{};
  const auto* const format = group == 0 || value >= 100 ? "%.0f%s" : "%.1f%s";
  std::snprintf(text.data(), text.size(), format, format[2] == '0' ? std::trunc(value) : value,
                kGroups.at(group));
  return text.data();
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text;
}

std::int64_t elements_below(const torch::nn::Module& module) {
  std::set<const void*> seen;
  std::int64_t count = 0;
  for (const auto& parameter : module.parameters())
    if (seen.insert(parameter.unsafeGetTensorImpl()).second) count += parameter.numel();
  return count;
}

}  // namespace

ModelCounts summarize(const torch::nn::Module& module, int max_depth) {
  if (max_depth < -1)
    throw std::invalid_argument("ModelSummary: max_depth is " + std::to_string(max_depth) +
                                ", expected -1 (all) or more");
  ModelCounts counts;
  std::set<const void*> seen;
  for (const auto& parameter : module.parameters()) {
    if (!seen.insert(parameter.unsafeGetTensorImpl()).second) continue;
    (parameter.requires_grad() ? counts.trainable : counts.frozen) += parameter.numel();
    counts.bytes += parameter.numel() * static_cast<std::int64_t>(parameter.element_size());
  }
  for (const auto& item : module.named_modules(/*name_prefix=*/"", /*include_self=*/false)) {
    const auto& layer = *item.value();
    ++(layer.is_training() ? counts.in_train_mode : counts.in_eval_mode);
    const auto depth = 1 + std::count(item.key().begin(), item.key().end(), '.');
    if (max_depth != -1 && depth > max_depth) continue;
    counts.layers.push_back(
        {item.key(), short_type(layer.name()), elements_below(layer), layer.is_training()});
  }
  return counts;
}

std::string ModelCounts::table() const {
  const bool sized =
      std::any_of(layers.begin(), layers.end(), [](const auto& l) { return !l.out_size.empty(); });
  std::vector<std::vector<std::string>> rows{{"", "Name", "Type", "Params", "Mode"}};
  if (sized) rows[0].insert(rows[0].end(), {"In sizes", "Out sizes"});
  const auto size = [](const std::string& text) { return text.empty() ? "?" : text; };
  for (const auto& layer : layers) {
    rows.push_back({std::to_string(rows.size() - 1), layer.name, layer.type, short_count(layer.parameters),
                    layer.training ? "train" : "eval"});
    if (sized) rows.back().insert(rows.back().end(), {size(layer.in_size), size(layer.out_size)});
  }
  std::vector<std::size_t> widths(rows[0].size());
  for (const auto& row : rows)
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  std::string text;
  auto width = 3 * (widths.size() - 1);
  for (const auto one : widths) width += one;
  const auto rule = std::string(width, '-') + "\n";
  for (std::size_t r = 0; r < rows.size() && !layers.empty(); ++r) {
    for (std::size_t c = 0; c < widths.size(); ++c)
      text += (c == 0 ? "" : " | ") + padded(rows[r][c], widths[c]);
    text += "\n";
    if (r == 0) text += rule;
  }
  if (!layers.empty()) text += rule;
  std::array<char, 40> megabytes{};
  std::snprintf(megabytes.data(), megabytes.size(), "%.3f", static_cast<double>(bytes) / 1e6);
  const std::array<std::pair<std::string, const char*>, 6> totals{
      {{short_count(trainable), "Trainable params"},
       {short_count(frozen), "Non-trainable params"},
       {short_count(trainable + frozen), "Total params"},
       {megabytes.data(), "Total estimated model params size (MB)"},
       {std::to_string(in_train_mode), "Modules in train mode"},
       {std::to_string(in_eval_mode), "Modules in eval mode"}}};
  for (const auto& [value, what] : totals) text += padded(value, 10) + what + "\n";
  text.pop_back();
  return text;
}

ModelSummary::ModelSummary(int max_depth) : max_depth_(max_depth) {
  if (max_depth < -1)
    throw std::invalid_argument("ModelSummary: max_depth is " + std::to_string(max_depth) +
                                ", expected -1 (all) or more");
}

void ModelSummary::on_fit_start(Trainer& trainer, LightningModule& module) {
  if (!trainer.is_global_zero()) return;
  auto counts = summarize(module, max_depth_);
  const LightningModule plain;
  const bool predicts = is_overridden<LightningModule>(module, plain, &LightningModule::predict_step);
  if (auto example = predicts ? module.example_input() : std::nullopt) {
    auto& precision = trainer.precision_plugin();
    const auto batch =
        module.transfer_batch_to_device(precision.convert_input(std::move(*example)), trainer.device());
    const auto types = precision.forward_scope(trainer.device());
    add_sizes(counts, module, [&] { (void)module.predict_step(batch, 0); });
  }
  module.print(counts.table());
}

}  // namespace rtrain
