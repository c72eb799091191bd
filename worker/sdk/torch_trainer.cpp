#include <rtrain/torch_trainer.h>

#include "common/os/file.h"
#include "proto/jobspec/jobspec.h"
#include "worker/runtime/failure_place.h"
#include "worker/runtime/retention.h"
#include "worker/runtime/run_record.h"
#include "worker/sdk/job.h"
#include "worker/sdk/launcher.h"
#include "worker/sdk/rank_main.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <climits>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace rtrain {
namespace {

namespace fs = std::filesystem;

// A program may call fit() several times. A worker is a run of the program for one of these calls: the
// variables say for which, and what the calls before it gave.
constexpr const char* kCallVariable = "RTRAIN_FIT_CALL";
constexpr const char* kResultsVariable = "RTRAIN_FIT_RESULTS_FILE";  // a file: one variable holds 128 KiB
constexpr const char* kReportsVariable = "RTRAIN_FIT_REPORTS_FILE";  // a file that rank 0 appends to
constexpr std::size_t kResultsBytesMax = 256u << 20;

struct Calls {
  int made = 0;
  nlohmann::json results = nlohmann::json::array();
};
Calls& calls() {
  static Calls all;
  return all;
}

std::vector<std::string> own_command() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> command;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find('\0', begin), text.size());
    command.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  if (command.empty()) throw std::runtime_error("/proc/self/cmdline is empty: is /proc mounted?");
  command[0] = fs::read_symlink("/proc/self/exe").string();
  return command;
}

/// What the calls before this one gave, in a worker.
nlohmann::json earlier_results() {
  const char* file = std::getenv(kResultsVariable);
  if (file == nullptr) return nlohmann::json::array();
  const auto text = os::read_file(file, kResultsBytesMax);
  if (!text)
    throw std::runtime_error("TorchTrainer: the results of earlier calls of fit(): " +
                             text.error().message());
  auto results = proto::parse_json(*text, {.bytes_max = kResultsBytesMax, .depth_max = 128});
  if (!results)
    throw std::runtime_error("TorchTrainer: the results of earlier calls of fit(): " +
                             results.error().message());
  return std::move(*results);
}

/// A job's name is a file name, too.
std::string name_from(std::string program) {
  for (char& c : program)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '_' && c != '-') c = '_';
  return program.empty() || std::isalnum(static_cast<unsigned char>(program[0])) == 0 ? "fit" + program
                                                                                      : program;
}

std::string what_is_wrong(const proto::SpecReading& reading) {
  std::string text = "TorchTrainer:";
  for (const auto& error : reading.errors) text += "\n  " + proto::to_string(error);
  return text;
}

}  // namespace

TorchTrainer::TorchTrainer(TrainFunction train_func, ScalingConfig scaling_config, RunConfig run_config,
                           nlohmann::json train_loop_config, TorchConfig torch_config,
                           std::optional<Checkpoint> resume_from_checkpoint)
    : train_func_(std::move(train_func)),
      scaling_config_(std::move(scaling_config)),
      run_config_(std::move(run_config)),
      train_loop_config_(std::move(train_loop_config)),
      torch_config_(std::move(torch_config)),
      resume_from_checkpoint_(std::move(resume_from_checkpoint)) {}

namespace {

nlohmann::json document_of(const ScalingConfig& scaling, const RunConfig& run,
                           const nlohmann::json& loop_config, const TorchConfig& torch,
                           const std::optional<Checkpoint>& resume) {
  const auto command = own_command();
  const auto& keep = run.checkpoint_config;
  nlohmann::json document = {
      {"name", run.name.empty() ? name_from(fs::path(command[0]).filename().string()) : run.name},
      {"command", command},
      {"working_dir", fs::current_path().string()},
      {"env_inherit", true},
      {"train_loop_config", loop_config},
      {"scaling_config",
       {{"num_workers", std::max(1, scaling.num_workers)},
        {"use_gpu", scaling.use_gpu},
        {"placement_strategy", scaling.placement_strategy}}},
      {"run_config",
       {{"failure_config", {{"max_failures", run.failure_config.max_failures}}},
        {"checkpoint_config", {{"checkpoint_score_order", keep.checkpoint_score_order}}}}},
      {"torch_config",
       {{"backend", torch.backend},
        {"timeout_s", torch.timeout_s},
        {"init_timeout_s", torch.init_timeout_s}}}};
  if (!scaling.resources_per_worker.empty())
    document["scaling_config"]["resources_per_worker"] = scaling.resources_per_worker;
  // refused with the reader's own words
  if (scaling.num_workers < 0) document["scaling_config"]["num_workers"] = scaling.num_workers;
  if (!run.storage_path.empty()) document["run_config"]["storage_path"] = run.storage_path;
  auto& checkpoint_config = document["run_config"]["checkpoint_config"];
  if (keep.num_to_keep) checkpoint_config["num_to_keep"] = *keep.num_to_keep;
  if (!keep.checkpoint_score_attribute.empty())
    checkpoint_config["checkpoint_score_attribute"] = keep.checkpoint_score_attribute;
  if (resume) document["resume_from_checkpoint"] = fs::absolute(resume->path()).string();
  return document;
}

/// Without a function of a library: the program itself is run again, and its call of fit() knows from its
/// launch what it is for.
nlohmann::json validation_of(const ValidationConfig& config) {
  nlohmann::json document = {{"train_loop_config", config.train_loop_config},
                             {"timeout_s", config.timeout_s}};
  if (!config.resources.empty()) document["resources"] = config.resources;
  return document;
}

/// What on_report() gets of a line that report_line() wrote.
ReportedRow row_of(const nlohmann::json& line) {
  ReportedRow row{line.at("attempt").get<int>(), line.at("report").get<std::int64_t>(),
                  runtime::with_numbers(line.at("metrics")), std::nullopt};
  if (line.at("checkpoint").is_string()) row.checkpoint.emplace(line.at("checkpoint").get<std::string>());
  return row;
}

nlohmann::json report_line(const proto::RankReport& report) {
  return {{"attempt", report.key.attempt.value()},
          {"report", report.seq},
          {"metrics", report.metrics},
          {"checkpoint", report.checkpoint ? nlohmann::json(report.checkpoint->path) : nlohmann::json()}};
}

/// In a worker: hands the reports that are stored to the program that called fit().
void tell_reports(sdk::Job& job, const std::string& file) {
  job.on_stored([file](const proto::RankReport& report) {
    const auto line = proto::dump_json(report_line(report)) + "\n";
    const int fd = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0) return;  // the program has ended; the job goes on
    [[maybe_unused]] const auto written = ::write(fd, line.data(), line.size());
    ::close(fd);
  });
}

/// In the program that called fit(): reads what the workers tell, on a thread, until it is ended.
class ReportListener {
 public:
  explicit ReportListener(std::function<void(const ReportedRow&)> body)
      : body_(std::move(body)), file_("reports.jsonl", ""), thread_([this] { run(); }) {}
  ~ReportListener() { end(); }
  ReportListener(const ReportListener&) = delete;
  ReportListener& operator=(const ReportListener&) = delete;
  [[nodiscard]] std::string path() const { return file_.path(); }
  /// Reads the rest. @throws what `body` threw.
  void finish() {
    end();
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  static constexpr std::chrono::milliseconds kLook{50};

  void end() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  void run() {
    for (bool last = false; !last;) {
      {
        std::unique_lock lock(mutex_);
        last = wake_.wait_for(lock, kLook, [&] { return ended_; });
      }
      try {
        read();
      } catch (...) {
        failure_ = std::current_exception();
        return;
      }
    }
  }
  void read() {
    for (char chunk[8192];;) {
      const auto got = ::pread(file_.fd(), chunk, sizeof chunk, at_);
      if (got <= 0) break;
      at_ += got;
      text_.append(chunk, static_cast<std::size_t>(got));
    }
    for (auto end = text_.find('\n'); end != std::string::npos; end = text_.find('\n')) {
      const auto line = proto::parse_json(text_.substr(0, end), {.bytes_max = kResultsBytesMax});
      text_.erase(0, end + 1);
      if (line) body_(row_of(*line));
    }
  }

  std::function<void(const ReportedRow&)> body_;
  sdk::UnnamedFile file_;
  off_t at_ = 0;
  std::string text_;
  std::exception_ptr failure_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ended_ = false;
  std::thread thread_;
};

/// num_workers 0: no process but this one.
TrainingResult run_here(const TrainFunction& train_func, proto::JobSpec spec,
                        const std::function<void(const ReportedRow&)>& on_report) {
  const char* home = std::getenv("HOME");
  proto::resolve_paths(spec, fs::current_path().string(), fs::current_path().string(),
                       home != nullptr ? home : "/", "");
  proto::Launch launch;
  launch.job = JobId(1);
  launch.attempt = Attempt(1);
  launch.submitted_ms = os::unix_ms_now();
  launch.run_name = spec.name + "-" + std::to_string(launch.submitted_ms) + "-" + std::to_string(::getpid());
  launch.run_dir = spec.run_config.storage_path + "/" + launch.run_name;
  launch.spec = std::move(spec);
  auto& job = sdk::Job::current();
  job.begin_local(launch);
  if (on_report)
    job.on_stored([&](const proto::RankReport& report) { on_report(row_of(report_line(report))); });
  TrainingResult result;
  result.path = launch.run_dir;
  try {
    if (auto prepared = job.prepare_run_dir(); !prepared)
      throw std::runtime_error("the run's folder: " + prepared.error().message());
    job.join({});
    const Config config(launch.spec.train_loop_config);
    result.return_value = train_func(config);
    if (const auto unread = sdk::unread_keys(config); !unread.empty())
      std::fprintf(stderr, "rtrain: warning: %s\n", unread.c_str());
    if (auto finished = job.finish(); !finished) throw std::runtime_error(finished.error().message());
  } catch (const std::exception& error) {
    result.error = TrainingError{
        "exception", runtime::failure_prefix(std::current_exception()) + error.what(), 0, "", {}};
  } catch (...) {
    const auto failure = std::current_exception();
    result.error = TrainingError{
        "exception", runtime::failure_prefix(failure) + runtime::failure_text(failure), 0, "", {}};
  }
  job.finish_uploads_quietly();  // of a function that failed before they were stored
  job.leave();
  result.metrics = job.latest_metrics();
  const auto kept = job.kept_checkpoints();
  if (!kept.empty()) result.checkpoint.emplace(kept.back().path);
  for (const auto& best : runtime::by_score(kept, launch.spec.run_config.checkpoint_config))
    result.best_checkpoints.emplace_back(Checkpoint(best.path), best.metrics);
  job.end_local();
  return result;
}

}  // namespace

TorchTrainer& TorchTrainer::on_report(std::function<void(const ReportedRow&)> body) {
  on_report_ = std::move(body);
  return *this;
}

TorchTrainer& TorchTrainer::validation(ValidationConfig config) {
  validation_ = std::move(config);
  return *this;
}

TrainingResult TorchTrainer::fit() {
  const int call = calls().made++;
  auto document =
      document_of(scaling_config_, run_config_, train_loop_config_, torch_config_, resume_from_checkpoint_);
  if (validation_) document["validation"] = validation_of(*validation_);
  auto& job = sdk::Job::current();
  if (job.environment().in_job) {
    const char* number = std::getenv(kCallVariable);
    const int wanted = number != nullptr ? std::atoi(number) : 0;
    if (call == wanted) {
      if (validation_ && job.environment().launch.validates)
        sdk::run_rank([this] { return validation_->fn; });
      if (const char* file = std::getenv(kReportsVariable); file != nullptr && *file != '\0')
        tell_reports(job, file);
      sdk::run_rank([this] { return train_func_; });
    }
    const auto results = earlier_results();
    if (!results.is_array() || static_cast<std::size_t>(call) >= results.size())
      throw std::runtime_error(
          "TorchTrainer: fit() was called in another order in a worker than in the program itself");
    const auto& gave = results[static_cast<std::size_t>(call)];
    return gave.is_null() ? TrainingResult{} : sdk::result_of(gave);
  }

  const auto reading = proto::read_job_spec(document);
  if (!reading.ok()) throw std::invalid_argument(what_is_wrong(reading));
  if (scaling_config_.num_workers == 0) {
    calls().results.push_back(nullptr);
    return run_here(train_func_, reading.spec, on_report_);
  }
  const sdk::UnnamedFile results("results.json", proto::dump_json(calls().results));
  std::optional<ReportListener> listener;
  if (on_report_) listener.emplace(on_report_);
  const auto given =
      sdk::run_job(document, {std::string(kCallVariable) + "=" + std::to_string(call),
                              std::string(kResultsVariable) + "=" + results.path(),
                              std::string(kReportsVariable) + "=" + (listener ? listener->path() : "")});
  calls().results.push_back(given);
  if (listener) listener->finish();
  return sdk::result_of(given);
}

}  // namespace rtrain
