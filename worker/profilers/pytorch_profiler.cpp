#include <rtrain/profilers/pytorch_profiler.h>

#include "worker/profilers/key_averages.h"
#include "worker/profilers/schedule.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <set>
#include <stdexcept>

namespace rtrain {
namespace {

namespace fs = std::filesystem;
namespace kineto = torch::autograd::profiler;
namespace impl = torch::profiler::impl;
using profilers::StepAction;

constexpr std::array kSortKeys{"cpu_time_total", "cuda_time_total", "self_cpu_time_total",
                               "self_cuda_time_total", "count"};

/// A training batch with its backward and optimizer step, or a batch of an evaluation.
bool ends_step(const std::string& action) {
  return action == "run_training_batch" || action.ends_with(".validation_step") ||
         action.ends_with(".test_step") || action.ends_with(".predict_step");
}

std::vector<profilers::TraceEvent> events_of(const kineto::ProfilerResult& result) {
  std::vector<profilers::TraceEvent> events;
  for (const auto& event : result.events()) {
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

}  // namespace

struct PyTorchProfiler::Impl {
  PyTorchProfilerOptions options;
  profilers::Schedule schedule{};
  std::int64_t step = 0;
  StepAction now = StepAction::kNone;
  bool prepared = false, recording = false, uses_gpu = false;
  std::vector<std::unique_ptr<at::RecordFunction>> ranges;  ///< of the actions that run; null: not recorded
  std::unique_ptr<at::RecordFunction> step_range;
  std::vector<fs::path> traces;
  std::vector<KeyAverage> averages;
  std::optional<std::string> failure;  ///< of a trace, for describe(): stop() has nobody to tell

  [[nodiscard]] impl::ProfilerConfig config() const {
    return impl::ProfilerConfig(impl::ProfilerState::KINETO, options.record_shapes || options.with_flops,
                                options.profile_memory, options.with_stack, options.with_flops);
  }
  [[nodiscard]] std::set<impl::ActivityType> activities() const {
    std::set<impl::ActivityType> all{impl::ActivityType::CPU};
    if (uses_gpu) all.insert(impl::ActivityType::CUDA);
    return all;
  }
  [[nodiscard]] std::string sort_key() const {
    if (!options.sort_by_key.empty()) return options.sort_by_key;
    return uses_gpu ? "cuda_time_total" : "cpu_time_total";
  }
  static std::unique_ptr<at::RecordFunction> begin_range(const std::string& name) {
    auto range = std::make_unique<at::RecordFunction>(at::RecordScope::USER_SCOPE);
    if (range->isActive()) range->before(name);
    return range;
  }
  void begin_step() {
    now = schedule.at(step);
    if (now != StepAction::kNone && !prepared) {
      kineto::prepareProfiler(config(), activities());
      prepared = true;
    }
    const bool records = now == StepAction::kRecord || now == StepAction::kRecordAndSave;
    if (records && !recording) {
      kineto::enableProfiler(config(), activities());
      recording = true;
    }
    if (recording) step_range = begin_range("ProfilerStep#" + std::to_string(step));
  }
  /// Kineto that is warm and was never started refuses to be prepared again.
  void drop_warmup() {
    if (!prepared || recording) return;
    kineto::enableProfiler(config(), activities());
    (void)kineto::disableProfiler();
    prepared = false;
  }
  /// Ranges that began while nothing was recorded, or were closed with the recording, stay null.
  void end_recording(const std::function<fs::path()>& next_path) {
    step_range.reset();
    for (auto range = ranges.rbegin(); range != ranges.rend(); ++range) range->reset();
    const auto result = kineto::disableProfiler();
    recording = prepared = false;
    if (result == nullptr) return;
    averages = profilers::key_averages(events_of(*result));
    profilers::sort_by(averages, sort_key());
    if (!options.export_to_chrome) return;
    const auto path = next_path();
    std::error_code ec;
    fs::create_directories(path.parent_path(), ec);
    if (!ec) result->save(path.string());
    // Kineto tells its own log, not its caller, when a file cannot be written.
    std::error_code missing;
    if (ec || !fs::exists(path, missing))
      failure = "PyTorchProfiler: the trace " + path.string() + " could not be written" +
                (ec ? ": " + ec.message() : "; can files be made in that folder?");
    else
      traces.push_back(path);
  }
};

PyTorchProfiler::PyTorchProfiler(PyTorchProfilerOptions options)
    : Profiler({options.dirpath, options.filename}) {
  std::string problems;
  const auto at_least = [&](const char* name, std::int64_t value, std::int64_t least) {
    if (value < least)
      problems += "\n  " + std::string(name) + " is " + std::to_string(value) + ", expected " +
                  std::to_string(least) + " or more";
  };
  at_least("skip_first", options.skip_first, 0);
  at_least("wait", options.wait, 0);
  at_least("warmup", options.warmup, 0);
  at_least("active", options.active, 1);
  at_least("repeat", options.repeat, 0);
  at_least("row_limit", options.row_limit, -1);
  const auto& key = options.sort_by_key;
  if (!key.empty() && std::find(kSortKeys.begin(), kSortKeys.end(), key) == kSortKeys.end()) {
    problems += "\n  sort_by_key is \"" + key + "\", expected";
    for (const auto* known : kSortKeys) problems += std::string(known == kSortKeys[0] ? " " : ", ") + known;
  }
  if (!problems.empty())
    throw std::invalid_argument("PyTorchProfiler: these options cannot be used:" + problems);
  impl_ = std::make_unique<Impl>();
  impl_->schedule = {options.skip_first, options.wait, options.warmup, options.active, options.repeat};
  impl_->options = std::move(options);
}
PyTorchProfiler::PyTorchProfiler(PyTorchProfiler&&) noexcept = default;
PyTorchProfiler::~PyTorchProfiler() {
  if (impl_) teardown();
}

const std::vector<fs::path>& PyTorchProfiler::traces() const { return impl_->traces; }
const std::vector<KeyAverage>& PyTorchProfiler::key_averages() const { return impl_->averages; }

void PyTorchProfiler::setup(const ProfiledRun& run) {
  Profiler::setup(run);
  impl_->uses_gpu = run.uses_gpu;
  impl_->step = 0;
  impl_->ranges.clear();
  impl_->begin_step();
}

void PyTorchProfiler::start(const std::string& action) {
  impl_->ranges.push_back(impl_->recording ? Impl::begin_range(action) : nullptr);
}

void PyTorchProfiler::stop(const std::string& action) {
  if (impl_->ranges.empty()) return;
  impl_->ranges.pop_back();
  if (!ends_step(action)) return;
  impl_->step_range.reset();
  if (impl_->now == StepAction::kRecordAndSave) finish_cycle();
  ++impl_->step;
  impl_->begin_step();
}

void PyTorchProfiler::finish_cycle() {
  impl_->end_recording([this] {
    return folder() / (file_stem() + "." + std::to_string(impl_->traces.size()) + ".pt.trace.json");
  });
}

std::string PyTorchProfiler::summary() const {
  auto text = stage_name();
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
  text += " Profiler Report\n\n";
  if (impl_->averages.empty())
    return text + "no step was recorded: a cycle is " + std::to_string(impl_->options.wait) +
           " steps of waiting, " + std::to_string(impl_->options.warmup) + " of warmup and " +
           std::to_string(impl_->options.active) + " that are recorded, after the first " +
           std::to_string(impl_->options.skip_first) + "; the run had " + std::to_string(impl_->step) + "\n";
  text += profilers::table_of(impl_->averages, impl_->options.row_limit, impl_->uses_gpu,
                              impl_->options.with_flops);
  for (const auto& trace : impl_->traces) text += "trace: " + trace.string() + "\n";
  return text;
}

void PyTorchProfiler::describe() {
  if (impl_->recording) finish_cycle();
  if (impl_->failure) throw std::runtime_error(*std::exchange(impl_->failure, std::nullopt));
  Profiler::describe();
}

void PyTorchProfiler::teardown() noexcept {
  try {
    if (impl_->recording) finish_cycle();
    impl_->drop_warmup();
  } catch (const std::exception&) {
    // The run has failed already, and tells why.
  }
  impl_->ranges.clear();
  impl_->now = StepAction::kNone;
}

RTRAIN_REGISTER_OPTIONS(Profiler, "pytorch", PyTorchProfiler, PyTorchProfilerOptions, dirpath, filename,
                        skip_first, wait, warmup, active, repeat, record_shapes, profile_memory, with_stack,
                        with_flops, export_to_chrome, row_limit, sort_by_key);

}  // namespace rtrain
