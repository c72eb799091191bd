#include <rtrain/profilers/pytorch_profiler.h>

#include "worker/profilers/key_averages.h"
#include "worker/profilers/recording.h"
#include "worker/profilers/schedule.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <functional>
#include <optional>
#include <stdexcept>

namespace rtrain {
namespace {

namespace fs = std::filesystem;
using profilers::StepAction;

constexpr std::array kSortKeys{"cpu_time_total", "cuda_time_total", "self_cpu_time_total",
                               "self_cuda_time_total", "count"};

/// A training batch with its backward and optimizer step, or a batch of an evaluation.
bool ends_step(const std::string& action) {
  return action == "run_training_batch" || action.ends_with(".validation_step") ||
         action.ends_with(".test_step") || action.ends_with(".predict_step");
}

}  // namespace

struct PyTorchProfiler::Impl {
  PyTorchProfilerOptions options;
  profilers::Schedule schedule{};
  std::int64_t step = 0;
  StepAction now = StepAction::kNone;
  bool uses_gpu = false;
  profilers::Recording recording{{}};
  std::vector<fs::path> traces;
  std::vector<KeyAverage> averages;
  std::optional<std::string> failure;  ///< of a trace, for describe(): stop() has nobody to tell

  [[nodiscard]] std::string sort_key() const {
    if (!options.sort_by_key.empty()) return options.sort_by_key;
    return uses_gpu ? "cuda_time_total" : "cpu_time_total";
  }
  void begin_step() {
    now = schedule.at(step);
    if (now != StepAction::kNone) recording.prepare();
    const bool records = now == StepAction::kRecord || now == StepAction::kRecordAndSave;
    if (records && !recording.is_on()) recording.begin();
    if (recording.is_on()) recording.begin_step(step);
  }
  void end_recording(const std::function<fs::path()>& next_path) {
    const auto trace = recording.end();
    if (!trace) return;
    averages = profilers::key_averages(trace->events());
    profilers::sort_by(averages, sort_key());
    if (!options.export_to_chrome) return;
    auto path = next_path();
    if (auto problem = trace->save(path))
      failure = "PyTorchProfiler: " + *problem;
    else
      traces.push_back(std::move(path));
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
  const auto& o = impl_->options;
  impl_->recording = profilers::Recording({.record_shapes = o.record_shapes,
                                           .profile_memory = o.profile_memory,
                                           .with_stack = o.with_stack,
                                           .with_flops = o.with_flops,
                                           .uses_gpu = run.uses_gpu});
  impl_->begin_step();
}

void PyTorchProfiler::start(const std::string& action) { impl_->recording.begin_range(action); }

void PyTorchProfiler::stop(const std::string& action) {
  if (!impl_->recording.end_range() || !ends_step(action)) return;
  impl_->recording.end_step();
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
  if (impl_->recording.is_on()) finish_cycle();
  if (impl_->failure) throw std::runtime_error(*std::exchange(impl_->failure, std::nullopt));
  Profiler::describe();
}

void PyTorchProfiler::teardown() noexcept {
  try {
    if (impl_->recording.is_on()) finish_cycle();
    impl_->recording.drop_preparation();
  } catch (const std::exception&) {
    // The run has failed already, and tells why.
  }
  impl_->recording.drop_ranges();
  impl_->now = StepAction::kNone;
}

RTRAIN_REGISTER_OPTIONS(Profiler, "pytorch", PyTorchProfiler, PyTorchProfilerOptions, dirpath, filename,
                        skip_first, wait, warmup, active, repeat, record_shapes, profile_memory, with_stack,
                        with_flops, export_to_chrome, row_limit, sort_by_key);

}  // namespace rtrain
