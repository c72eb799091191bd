// What report() does with metrics and checkpoints.
#include "worker/sdk/job.h"

#include "common/base/duration.h"
#include "common/os/file.h"
#include "worker/runtime/longer_pause.h"
#include "worker/runtime/payload.h"
#include "worker/runtime/pulse.h"
#include "worker/runtime/retention.h"
#include "worker/runtime/run_record.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <utility>

namespace rtrain::sdk {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kHeadStoresReport{1000};
constexpr milliseconds kLogAtTheEnd{10'000};
constexpr const char* kKeptKey = "kept";
constexpr std::size_t kKwargsBytesMax = 64u << 10;
constexpr milliseconds kValidationLook{500};

[[noreturn]] void throw_stored(const Error& error) {
  throw std::runtime_error(error.hint().empty() ? error.message()
                                                : error.message() + " (" + error.hint() + ")");
}

/// What the caller gave cannot be taken.
[[noreturn]] void refuse(const Error& error) {
  throw std::invalid_argument("report(): " + error.message() +
                              (error.hint().empty() ? "" : "; " + error.hint()));
}

std::string text_of_kept(const std::vector<proto::CheckpointRecord>& kept) {
  auto list = proto::Json::array();
  for (const auto& one : kept) list.push_back(one);
  return proto::dump_json(list);
}

std::vector<proto::CheckpointRecord> kept_of(const std::string& text) {
  std::vector<proto::CheckpointRecord> kept;
  const auto list = proto::parse_json(text, {.bytes_max = text.size() + 1});
  if (!list) throw_stored(list.error().in("get_all_reported_checkpoints()"));
  for (const auto& one : *list) {
    kept.push_back(one.get<proto::CheckpointRecord>());
    kept.back().metrics = runtime::with_numbers(std::move(kept.back().metrics));
  }
  return kept;
}

/// What the report asks for; nothing when it asks for no validation.
std::optional<proto::CheckpointValidation> wanted_validation(const ReportOptions& options) {
  const auto* task = std::get_if<ValidationTaskConfig>(&options.validation);
  if (task == nullptr && !std::get<bool>(options.validation)) return std::nullopt;
  proto::CheckpointValidation wanted;
  if (task == nullptr) return wanted;
  wanted.fn_kwargs = task->fn_kwargs;
  wanted.timeout_s = task->timeout_s;
  return wanted;
}

void check_validation(const proto::CheckpointValidation& wanted, bool has_checkpoint) {
  if (!has_checkpoint)
    throw std::invalid_argument(
        "report(): validation needs a checkpoint; pass the one that is to be validated");
  if (!wanted.fn_kwargs.is_object())
    throw std::invalid_argument(std::string("report(): validation: fn_kwargs must be an object, found ") +
                                wanted.fn_kwargs.type_name());
  if (const auto fits = runtime::check_payload(wanted.fn_kwargs, "fn_kwargs", kKwargsBytesMax,
                                               "put what is large into a file of the checkpoint");
      !fits)
    refuse(fits.error());
  if (wanted.timeout_s && !(*wanted.timeout_s > 0 && *wanted.timeout_s <= 1e9))
    throw std::invalid_argument("report(): validation: timeout_s is " + std::to_string(*wanted.timeout_s) +
                                ", expected more than 0 and at most 1e9");
}

}  // namespace

/// What a report brings.
struct Job::Brought {
  std::optional<Checkpoint> checkpoint{};
  ReportOptions options{};
  std::function<void()> before{};  ///< may be empty
  bool beside = false;             ///< the training goes on

  [[nodiscard]] bool keeps_path() const {
    return options.checkpoint_upload_fn || options.checkpoint_upload_mode == CheckpointUploadMode::kNoUpload;
  }
  [[nodiscard]] bool deletes_local() const {
    return options.delete_local_checkpoint_after_upload.value_or(options.checkpoint_upload_mode ==
                                                                 CheckpointUploadMode::kAsync);
  }
};

runtime::ReportAgreement& Job::agreement() {
  // Asked each time: a program may have left its group, and the store with it.
  if (group_ == nullptr)
    throw std::runtime_error(
        "report() with a checkpoint and several workers needs the job's process group: call "
        "rtrain::init_process_group() first, "
        "or use train_func or TorchTrainer, which have joined it");
  if (!agreement_) {
    agreement_ = std::make_unique<runtime::ReportAgreement>(
        *group_->store(), environment_.rank, environment_.world_size, [this] {
          const auto pause = runtime::longer_pause(waited_);
          std::this_thread::sleep_for(pause);
          waited_ += pause;
          return waited_ < to_milliseconds(environment_.launch.spec.torch_config.timeout_s);
        });
  }
  return *agreement_;
}

void Job::check(const nlohmann::json& metrics, const std::optional<Checkpoint>& checkpoint,
                const ReportOptions& options) const {
  if (!metrics.is_object())
    throw std::invalid_argument(std::string("report(): metrics must be an object, found ") +
                                metrics.type_name());
  if (const auto fits = runtime::check_payload(metrics, "the object of metrics", runtime::kMetricsBytesMax,
                                               "put what is large into a file of the checkpoint");
      !fits)
    refuse(fits.error());
  if (checkpoint && !std::filesystem::is_directory(checkpoint->path()))
    throw std::invalid_argument("report(): the checkpoint " + checkpoint->path().string() +
                                " is not a folder");
  if (!options.checkpoint_dir_name.empty())
    if (const auto fits = runtime::CheckpointStore::accepts_name(options.checkpoint_dir_name); !fits)
      refuse(fits.error());
  if (const auto wanted = wanted_validation(options)) {
    check_validation(*wanted, checkpoint.has_value());
    if (local_)
      throw std::invalid_argument(
          "report(): validation needs a cluster that runs the job of the validation; TorchTrainer with "
          "num_workers 0 has none");
    if (active() && !environment_.launch.spec.validation)
      throw std::invalid_argument(
          "report(): validation is asked for, and the job says nothing of one; give the job file a "
          "\"validation\" object that names the function");
  }
  const bool stays = options.checkpoint_upload_mode == CheckpointUploadMode::kNoUpload;
  if (stays && options.checkpoint_upload_fn)
    throw std::invalid_argument(
        "report(): checkpoint_upload_fn is given, and checkpoint_upload_mode is "
        "kNoUpload; give one of them");
  if (stays && options.delete_local_checkpoint_after_upload.value_or(false))
    throw std::invalid_argument(
        "report(): delete_local_checkpoint_after_upload with kNoUpload would delete "
        "the checkpoint that is reported");
}

void Job::report(const nlohmann::json& metrics, const std::optional<Checkpoint>& checkpoint,
                 const ReportOptions& options, std::function<void()> before) {
  check(metrics, checkpoint, options);
  if (!active()) return;
  Brought brought{checkpoint, options, std::move(before)};
  if (checkpoint && !brought.keeps_path())
    if (const auto accepted = store_->accepts(checkpoint->path().string()); !accepted)
      refuse(accepted.error());
  if (checkpoint && environment_.world_size > 1) (void)agreement();
  uploads_.throw_error();
  runtime::pulse().beat();
  connect();
  proto::RankReport report{
      .key = environment_.key, .seq = ++reports_, .time_ms = os::unix_ms_now(), .metrics = metrics};
  const bool later = checkpoint && options.checkpoint_upload_mode == CheckpointUploadMode::kAsync;
  if (later || (!checkpoint && !uploads_.idle())) {
    brought.beside = true;
    auto work = [this, report = std::move(report), brought = std::move(brought)]() mutable {
      store(std::move(report), brought);
    };
    if (later)
      uploads_.push(std::to_string(reports_), std::move(work));
    else
      uploads_.push_small(std::move(work));
  } else {
    wait_for_uploads();
    store(std::move(report), brought);
  }
  latest_metrics_ = metrics;
  runtime::pulse().beat();
}

void Job::store(proto::RankReport report, const Brought& brought) {
  drop_old_checkpoints(milliseconds(0));
  if (brought.checkpoint)
    store_checkpoint(report, brought);
  else if (environment_.world_size > 1 && group_ != nullptr)
    agreement().pass(report.seq);
  if (environment_.rank != 0) return;
  if (auto queued = metrics_log_->append(report); !queued) throw_stored(queued.error().in("report()"));
  if (on_stored_) on_stored_(report);
  if (session_) session_->send(std::move(report));
  // One that brought a checkpoint has waited for the disk anyway.
  drop_old_checkpoints(brought.checkpoint ? kHeadStoresReport : milliseconds(0));
}

bool Job::wait_for_uploads(std::optional<milliseconds> limit) {
  const auto until = std::chrono::steady_clock::now() + limit.value_or(milliseconds(0));
  for (;;) {
    runtime::pulse().beat();  // it waits for storage, and makes no step
    auto part = milliseconds(500);
    if (limit) {
      const auto left = std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now());
      part = std::clamp(left, milliseconds(0), part);
    }
    if (uploads_.wait(part)) return true;
    if (limit && std::chrono::steady_clock::now() >= until) return false;
  }
}

void Job::finish_uploads_quietly() noexcept {
  try {
    wait_for_uploads();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rtrain: warning: %s\n", error.what());
  }
}

Result<Done> Job::finish() {
  if (!active()) return ok();
  try {
    wait_for_uploads();
  } catch (const std::exception& error) {
    return fail(Errc::kIo, error.what());
  }
  if (environment_.world_size > 1 && group_ != nullptr) agreement().finish();
  if (environment_.rank == 0) drop_old_checkpoints(kHeadStoresReport);
  return metrics_log_->flush(kLogAtTheEnd);
}

/// Brings this rank's files, or says where they are. @return where, if that is not below the run's folder.
Result<std::string> Job::bring(const proto::RankReport& report, const Brought& brought) {
  const auto& local = brought.checkpoint->path();
  if (brought.before) {
    try {
      brought.before();
    } catch (const std::exception& error) {
      return fail(Errc::kIo, error.what());
    }
  }
  if (brought.options.checkpoint_upload_fn) {
    auto name = brought.options.checkpoint_dir_name;
    if (name.empty())
      name = "attempt" + std::to_string(environment_.key.attempt.value()) + "_report" +
             std::to_string(report.seq);
    try {
      const auto stored = brought.options.checkpoint_upload_fn(*brought.checkpoint, name).path();
      if (!std::filesystem::is_directory(stored))
        return fail(Errc::kNotFound, "checkpoint_upload_fn gave " + stored.string() + ", which is no folder");
      return std::filesystem::absolute(stored).lexically_normal().string();
    } catch (const std::exception& error) {
      return fail(Errc::kIo, std::string("checkpoint_upload_fn: ") + error.what());
    }
  }
  if (brought.keeps_path()) return std::filesystem::absolute(local).lexically_normal().string();
  if (const auto staged = store_->stage(local.string(), report.seq, brought.deletes_local()); !staged)
    return staged.error();
  return std::string();
}

void Job::store_checkpoint(proto::RankReport& report, const Brought& brought) {
  waited_ = milliseconds(0);
  const auto path = bring(report, brought);
  const Result<Done> staged = path ? ok() : Result<Done>(path.error());
  const auto publish_it = [&] { return publish(report, brought, *path); };
  Result<std::string> stored = std::string();
  if (environment_.world_size > 1) {
    std::optional<runtime::Pulse::InReport> waiting;
    if (!brought.beside) waiting.emplace(runtime::pulse(), report.seq);
    stored = agreement().settle(report.seq, staged, publish_it,
                                path && !path->empty() ? *path : brought.options.checkpoint_dir_name);
  } else if (staged) {
    stored = publish_it();
  } else {
    stored = staged.error();
  }
  if (!stored) {
    store_->discard(report.seq);
    throw_stored(stored.error().in("report(): the checkpoint could not be stored"));
  }
  if (brought.deletes_local() && *stored != brought.checkpoint->path().string()) {
    std::error_code ignored;
    std::filesystem::remove_all(brought.checkpoint->path(), ignored);
  }
  const std::lock_guard lock(stored_mutex_);
  latest_ = std::move(*stored);
}

Result<std::string> Job::publish(proto::RankReport& report, const Brought& brought, const std::string& path) {
  const auto& name = brought.options.checkpoint_dir_name;
  auto kept = kept_checkpoints();
  proto::CheckpointRecord record{path, next_index_, report.metrics, wanted_validation(brought.options)};
  if (path.empty()) {
    record.path = name.empty() ? store_->path(next_index_) : environment_.launch.run_dir + "/" + name;
    if (auto published = store_->publish(report.seq, next_index_, name, kept); !published)
      return published.error();
  }
  record.pinnable = true;
  ++next_index_;
  std::erase_if(kept, [&](const auto& one) { return one.path == record.path; });
  kept.push_back(record);
  if (const auto& config = environment_.launch.spec.run_config.checkpoint_config;
      config.num_to_keep && !runtime::can_rank(kept, config) && !printed_unranked_ &&
      std::none_of(kept.begin(), kept.end(), [](const auto& one) { return one.validation.has_value(); })) {
    printed_unranked_ = true;
    std::string names;
    for (const auto& item : report.metrics.items()) names += (names.empty() ? "" : ", ") + item.key();
    std::fprintf(stderr,
                 "rtrain: warning: no report has checkpoint_config.checkpoint_score_attribute \"%s\" (this "
                 "one has: %s): checkpoints cannot be ranked, so none is deleted\n",
                 config.checkpoint_score_attribute.c_str(), names.empty() ? "nothing" : names.c_str());
  }
  for (auto& old : runtime::to_delete(kept, environment_.launch.spec.run_config.checkpoint_config, pins())) {
    std::erase_if(kept, [&](const auto& one) { return one.index == old.index; });
    report.deleted_checkpoints.push_back(old.path);
    to_drop_.push_back(std::move(old));
  }
  report.checkpoint = std::move(record);
  // Before the other ranks hear that it is stored.
  if (environment_.world_size > 1) group_->store()->set(kKeptKey, text_of_kept(kept));
  const std::lock_guard lock(stored_mutex_);
  kept_ = std::move(kept);
  for (auto& one : kept_)  // told since `kept` was copied
    if (const auto told = validated_.find(one.index); told != validated_.end()) one = told->second;
  return report.checkpoint->path;
}

void Job::on_validated(const proto::CheckpointRecord& checkpoint) {
  {
    const std::lock_guard lock(stored_mutex_);
    auto told = checkpoint;
    told.metrics = runtime::with_numbers(std::move(told.metrics));
    for (auto& one : kept_)
      if (one.index == told.index) one = told;
    validated_.insert_or_assign(told.index, std::move(told));
  }
  validated_changed_.notify_all();
}

void Job::on_pins(const std::vector<std::string>& paths) {
  const std::lock_guard lock(stored_mutex_);
  pins_ = {paths.begin(), paths.end()};
}

runtime::Pins Job::pins() const {
  const std::lock_guard lock(stored_mutex_);
  return pins_;
}

void Job::drop_old_checkpoints(milliseconds patience) {
  if (runtime::not_pinned(to_drop_, pins()).empty()) return;
  if (session_ && !session_->wait_stored(patience)) return;  // with a later report
  // The head may have pinned one before it stored the report that dropped it: it said so before.
  const auto gone = store_->remove(runtime::not_pinned(to_drop_, pins()));
  std::erase_if(to_drop_, [&](const auto& dropped) {
    return std::find(gone.begin(), gone.end(), dropped.path) != gone.end();
  });
}

std::vector<proto::CheckpointRecord> Job::reported_checkpoints(bool validated,
                                                               std::optional<milliseconds> limit) {
  if (!active()) return {};
  connect();
  const auto until = std::chrono::steady_clock::now() + limit.value_or(milliseconds(0));
  auto all = stored_checkpoints(limit);
  std::unique_lock lock(stored_mutex_);
  for (;;) {
    for (auto& one : all)
      if (const auto told = validated_.find(one.index); told != validated_.end()) one = told->second;
    if (!validated || std::none_of(all.begin(), all.end(), [](const auto& one) { return one.pinned(); }))
      return all;
    auto part = kValidationLook;
    if (limit) {
      const auto left = std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now());
      if (left <= milliseconds(0)) return all;
      part = std::min(part, left);
    }
    runtime::pulse().beat();  // it waits for another job, and makes no step
    validated_changed_.wait_for(lock, part);
  }
}

std::vector<proto::CheckpointRecord> Job::stored_checkpoints(std::optional<milliseconds> limit) {
  const bool stored = wait_for_uploads(limit);
  if (environment_.rank == 0 || group_ == nullptr || group_->store() == nullptr) return kept_checkpoints();
  if (stored) {  // else the thread is still in the agreement
    waited_ = milliseconds(0);
    (void)agreement().await_rank_0(reports_);
  }
  const auto text = group_->store()->get(kKeptKey);
  return text ? kept_of(*text) : kept_checkpoints();
}

}  // namespace rtrain::sdk
