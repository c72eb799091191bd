#include <rtrain/loggers/tensorboard_logger.h>

#include "worker/loggers/event_file.h"
#include "worker/loggers/hyperparameters.h"
#include "worker/loggers/png.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

namespace rtrain {
namespace {

using loggers::ProtoMessage;

constexpr const char* kName = "TensorBoardLogger";

/// TensorFlow's buckets: each a tenth wider than the one before, from 1e-12 to 1e20, on both sides of 0.
const std::vector<double>& bucket_limits() {
  static const std::vector<double> limits = [] {
    std::vector<double> positive;
    for (double limit = 1e-12; limit < 1e20; limit *= 1.1) positive.push_back(limit);
    std::vector<double> all(positive.rbegin(), positive.rend());
    for (double& limit : all) limit = -limit;
    all.push_back(0);
    all.insert(all.end(), positive.begin(), positive.end());
    return all;
  }();
  return limits;
}

/// Values that are not finite have no bucket and are left out.
loggers::Histogram histogram_of(const torch::Tensor& given) {
  const torch::NoGradGuard no_grad;
  auto values = given.detach().to(torch::kFloat64).reshape(-1).to(torch::kCPU);
  values = values.masked_select(values.isfinite());
  loggers::Histogram h;
  if (values.numel() == 0) return h;
  h.min = values.min().item<double>();
  h.max = values.max().item<double>();
  h.num = static_cast<double>(values.numel());
  h.sum = values.sum().item<double>();
  h.sum_squares = values.square().sum().item<double>();
  const auto& limits = bucket_limits();
  std::vector<double> counts(limits.size() + 1);
  const auto* data = values.const_data_ptr<double>();
  for (std::int64_t i = 0; i < values.numel(); ++i)
    ++counts[static_cast<std::size_t>(std::lower_bound(limits.begin(), limits.end(), data[i]) -
                                      limits.begin())];
  const auto counted = [](double count) { return count > 0; };
  const auto first =
      static_cast<std::size_t>(std::find_if(counts.begin(), counts.end(), counted) - counts.begin());
  const auto last =
      counts.size() -
      static_cast<std::size_t>(std::find_if(counts.rbegin(), counts.rend(), counted) - counts.rbegin());
  // An empty bucket in front says where the first one begins.
  for (auto i = first > 0 ? first - 1 : first; i < last; ++i) {
    h.limits.push_back(i < limits.size() ? limits[i] : h.max);
    h.counts.push_back(counts[i]);
  }
  return h;
}

/// HParamsPluginData, of which each of three values carries one part.
std::vector<ProtoMessage> hparams_values(const nlohmann::json& hyperparameters,
                                         const std::map<std::string, double>& metrics) {
  constexpr std::uint64_t kStringType = 1, kNumberType = 3, kSuccess = 1;
  ProtoMessage experiment, start;
  for (const auto& [name, leaf] : loggers::flatten(hyperparameters)) {
    const bool is_number = leaf.is_number() || leaf.is_boolean();
    experiment.message(4, ProtoMessage().text(1, name).integer(4, is_number ? kNumberType : kStringType));
    ProtoMessage value;
    if (is_number)
      value.number_even_0(2, leaf.is_boolean() ? (leaf.get<bool>() ? 1 : 0) : leaf.get<double>());
    else
      value.text(3, loggers::text_of(leaf));
    start.message(1, ProtoMessage().text(1, name).message(2, value));
  }
  for (const auto& [name, value] : metrics)
    experiment.message(5, ProtoMessage().message(1, ProtoMessage().text(2, name)));
  const auto plugin = [](const char* tag, int field, const ProtoMessage& part) {
    return loggers::plugin_value(tag, "hparams", ProtoMessage().message(field, part).bytes());
  };
  return {plugin("_hparams_/experiment", 2, experiment), plugin("_hparams_/session_start_info", 3, start),
          plugin("_hparams_/session_end_info", 4, ProtoMessage().integer(1, kSuccess))};
}

}  // namespace

struct TensorBoardLogger::Impl {
  explicit Impl(TensorBoardLoggerOptions given)
      : options(std::move(given)), folder(options.save_dir, options.name, options.version, options.sub_dir) {}

  /// Not before there is something to write: a Trainer that logs nothing leaves no file.
  loggers::EventFile& file() {
    if (!events) events = std::make_unique<loggers::EventFile>(folder.create(kName));
    return *events;
  }
  [[nodiscard]] std::string named(const std::string& tag) const {
    return options.prefix.empty() ? tag : options.prefix + "-" + tag;
  }

  TensorBoardLoggerOptions options;
  RunFolder folder;
  std::unique_ptr<loggers::EventFile> events;
};

TensorBoardLogger::TensorBoardLogger(TensorBoardLoggerOptions options) {
  if (options.save_dir.empty())
    throw std::invalid_argument(std::string(kName) + ": save_dir is empty, expected a folder");
  impl_ = std::make_unique<Impl>(std::move(options));
}
TensorBoardLogger::TensorBoardLogger(TensorBoardLogger&&) noexcept = default;
TensorBoardLogger::~TensorBoardLogger() {
  try {
    if (impl_ && impl_->events) impl_->events->flush();
  } catch (const std::exception&) {
    // finalize() has told it.
  }
}

void TensorBoardLogger::log_metrics(const std::map<std::string, double>& metrics, std::int64_t step) {
  if (metrics.empty()) return;
  std::vector<ProtoMessage> values;
  for (const auto& [name, value] : metrics)
    values.push_back(loggers::scalar_value(impl_->named(name), static_cast<float>(value)));
  impl_->file().add(values, step);
}

void TensorBoardLogger::log_hyperparams(const nlohmann::json& hyperparameters) {
  log_hyperparams(hyperparameters, impl_->options.default_hp_metric
                                       ? std::map<std::string, double>{{"hp_metric", -1}}
                                       : std::map<std::string, double>{});
}

void TensorBoardLogger::log_hyperparams(const nlohmann::json& hyperparameters,
                                        const std::map<std::string, double>& metrics, std::int64_t step) {
  (void)impl_->file();
  loggers::write_hparams(kName, impl_->folder.path(), hyperparameters);
  if (metrics.empty()) return;
  log_metrics(metrics, step);
  for (const auto& value : hparams_values(hyperparameters, metrics)) impl_->file().add({value}, 0);
}

void TensorBoardLogger::log_histogram(const std::string& tag, const torch::Tensor& values,
                                      std::int64_t step) {
  if (values.is_complex())
    throw std::invalid_argument("log_histogram(\"" + tag +
                                "\"): the values are complex; log a real view of them");
  impl_->file().add({loggers::histogram_value(impl_->named(tag), histogram_of(values))}, step);
}

void TensorBoardLogger::log_image(const std::string& tag, const torch::Tensor& image, std::int64_t step) {
  const auto encoded = loggers::encode_png(tag, image);
  impl_->file().add(
      {loggers::image_value(impl_->named(tag), encoded.height, encoded.width, encoded.channels, encoded.png)},
      step);
}

void TensorBoardLogger::log_text(const std::string& tag, const std::string& text, std::int64_t step) {
  impl_->file().add({loggers::text_value(impl_->named(tag), text)}, step);
}

void TensorBoardLogger::save() {
  if (impl_->events) impl_->events->flush();
}

void TensorBoardLogger::finalize(const std::string&) { save(); }

std::string TensorBoardLogger::name() const { return impl_->folder.name(); }
std::string TensorBoardLogger::version() const { return impl_->folder.version(); }
std::filesystem::path TensorBoardLogger::save_dir() const { return impl_->folder.save_dir(); }
std::filesystem::path TensorBoardLogger::log_dir() const { return impl_->folder.path(); }

RTRAIN_REGISTER_OPTIONS(Logger, "TensorBoardLogger", TensorBoardLogger, TensorBoardLoggerOptions, save_dir,
                        name, version, default_hp_metric, prefix, sub_dir);

}  // namespace rtrain
