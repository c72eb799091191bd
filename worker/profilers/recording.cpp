#include "worker/profilers/recording.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/profiler_kineto.h>
#include <torch/csrc/profiler/orchestration/observer.h>

#include <set>
#include <utility>

namespace rtrain::profilers {
namespace {

namespace kineto_api = torch::autograd::profiler;
namespace kineto_config = torch::profiler::impl;

std::unique_ptr<at::RecordFunction> user_range(const std::string& name) {
  auto range = std::make_unique<at::RecordFunction>(at::RecordScope::USER_SCOPE);
  if (range->isActive()) range->before(name);
  return range;
}

}  // namespace

struct Recording::Trace::Content {
  std::unique_ptr<kineto_api::ProfilerResult> result;
};

struct Recording::Impl {
  RecordingOptions options;
  bool prepared = false, on = false;
  std::vector<std::unique_ptr<at::RecordFunction>> ranges;  ///< that run; null: not recorded
  std::unique_ptr<at::RecordFunction> step;

  [[nodiscard]] kineto_config::ProfilerConfig config() const {
    return kineto_config::ProfilerConfig(kineto_config::ProfilerState::KINETO,
                                         options.record_shapes || options.with_flops, options.profile_memory,
                                         options.with_stack, options.with_flops);
  }
  [[nodiscard]] std::set<kineto_config::ActivityType> activities() const {
    std::set<kineto_config::ActivityType> all{kineto_config::ActivityType::CPU};
    if (options.uses_gpu) all.insert(kineto_config::ActivityType::CUDA);
    return all;
  }
};

Recording::Recording(RecordingOptions options) : impl_(std::make_unique<Impl>()) { impl_->options = options; }
Recording::~Recording() = default;
Recording::Recording(Recording&&) noexcept = default;
Recording& Recording::operator=(Recording&&) noexcept = default;

bool Recording::another_is_on() { return kineto_config::profilerEnabled(); }

void Recording::prepare() {
  if (std::exchange(impl_->prepared, true)) return;
  kineto_api::prepareProfiler(impl_->config(), impl_->activities());
}

void Recording::begin() {
  prepare();
  kineto_api::enableProfiler(impl_->config(), impl_->activities());
  impl_->on = true;
}

bool Recording::is_on() const { return impl_->on; }

void Recording::begin_step(std::int64_t number) {
  impl_->step = user_range("ProfilerStep#" + std::to_string(number));
}
void Recording::end_step() { impl_->step.reset(); }

void Recording::begin_range(const std::string& name) {
  impl_->ranges.push_back(impl_->on ? user_range(name) : nullptr);
}
bool Recording::end_range() {
  if (impl_->ranges.empty()) return false;
  impl_->ranges.pop_back();
  return true;
}
void Recording::drop_ranges() { impl_->ranges.clear(); }

std::optional<Recording::Trace> Recording::end() {
  impl_->step.reset();
  // They stay on the stack: their ends are still to come.
  for (auto range = impl_->ranges.rbegin(); range != impl_->ranges.rend(); ++range) range->reset();
  auto result = kineto_api::disableProfiler();
  impl_->on = impl_->prepared = false;
  if (result == nullptr) return std::nullopt;
  return Trace(std::make_unique<Trace::Content>(Trace::Content{std::move(result)}));
}

void Recording::drop_preparation() {
  if (!impl_->prepared || impl_->on) return;
  kineto_api::enableProfiler(impl_->config(), impl_->activities());
  (void)kineto_api::disableProfiler();
  impl_->prepared = false;
}

Recording::Trace::Trace(std::unique_ptr<Content> content) : content_(std::move(content)) {}
Recording::Trace::~Trace() = default;
Recording::Trace::Trace(Trace&&) noexcept = default;

std::vector<TraceEvent> Recording::Trace::events() const {
  std::vector<TraceEvent> events;
  for (const auto& event : content_->result->events()) {
    if (event.isHiddenEvent()) continue;
    const bool on_gpu = event.deviceType() == c10::DeviceType::CUDA;
    events.push_back({.name = event.name(),
                      .start_ns = event.startNs(),
                      .end_ns = event.endNs(),
                      .thread = event.startThreadId(),
                      .correlation = event.correlationId(),
                      .started_by = on_gpu ? event.linkedCorrelationId() : 0,
                      .on_gpu = on_gpu,
                      .flops = static_cast<double>(event.flops())});
  }
  return events;
}

std::optional<std::string> Recording::Trace::save(const std::filesystem::path& path) const {
  std::error_code ec;
  std::filesystem::create_directories(path.parent_path(), ec);
  if (!ec) content_->result->save(path.string());
  // Kineto tells its own log, not its caller, when a file cannot be written.
  std::error_code missing;
  if (!ec && std::filesystem::exists(path, missing)) return std::nullopt;
  return "the trace " + path.string() + " could not be written" +
         (ec ? ": " + ec.message() : "; can files be made in that folder?");
}

}  // namespace rtrain::profilers
