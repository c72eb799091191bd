#include <rtrain/callbacks/model_checkpoint.h>

#include "worker/callbacks/monitored.h"
#include "worker/run/warn.h"
#include "worker/runtime/json.h"

#include <rtrain/trainer.h>

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <regex>
#include <stdexcept>

// What JSON may say in these options.
namespace nlohmann {

template <>
struct adl_serializer<rtrain::SaveLast> {
  static rtrain::SaveLast from_json(const json& value) {
    if (value.is_boolean()) return value.get<bool>();
    if (value == "link") return rtrain::SaveLast::kLink;
    if (value == "copy") return rtrain::SaveLast::kCopy;
    throw json::type_error::create(302, "expected true, false, \"link\" or \"copy\"", &value);
  }
};

template <>
struct adl_serializer<rtrain::Duration> {
  static rtrain::Duration from_json(const json& value) {
    try {
      return value.get<std::string>();
    } catch (const std::invalid_argument& error) {
      throw json::type_error::create(302, error.what(), &value);
    }
  }
};

}  // namespace nlohmann

namespace rtrain {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDefaultName = "{epoch}-{step}";

/// The folders of `filename` before its first field when they lead out of the folder it is in; the filename
/// keeps the rest.
fs::path take_folders_outside(std::string& filename) {
  const auto slash = filename.rfind('/', filename.find('{'));
  if (slash == std::string::npos) return {};
  auto folders = fs::path(filename.substr(0, slash + 1)).lexically_normal();
  if (!folders.is_absolute() && *folders.begin() != "..") return {};
  filename.erase(0, slash + 1);
  return folders;
}

fs::path without_end_slash(const fs::path& path) {
  const auto normal = path.lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

/// Links followed as far as there is something.
fs::path resolved(const fs::path& path) {
  std::error_code failed;
  const auto real = fs::weakly_canonical(path, failed);
  return without_end_slash(failed ? fs::absolute(path, failed) : real);
}

bool lies_in(const fs::path& path, const fs::path& folder) {
  return path != folder &&
         std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

}  // namespace

ModelCheckpoint::ModelCheckpoint(ModelCheckpointOptions options) : options_(std::move(options)) {
  auto& o = options_;
  std::string problems;
  if (o.mode != "min" && o.mode != "max")
    problems += "\n  mode is \"" + o.mode + "\", expected \"min\" or \"max\"";
  if (o.save_top_k < -1)
    problems += "\n  save_top_k is " + std::to_string(o.save_top_k) + ", expected -1 (all) or more";
  if (!o.monitor && o.save_top_k > 1)
    problems += "\n  save_top_k is " + std::to_string(o.save_top_k) +
                ", but there is no monitor to tell the best: -1, 0 or 1";
  if (o.every_n_train_steps.value_or(0) < 0)
    problems +=
        "\n  every_n_train_steps is " + std::to_string(*o.every_n_train_steps) + ", expected 0 or more";
  if (o.every_n_epochs.value_or(0) < 0)
    problems += "\n  every_n_epochs is " + std::to_string(*o.every_n_epochs) + ", expected 0 or more";
  const int triggers = (o.every_n_train_steps.value_or(0) > 0 ? 1 : 0) +
                       (o.every_n_epochs.value_or(0) > 0 ? 1 : 0) + (o.train_time_interval ? 1 : 0);
  if (triggers > 1)
    problems += "\n  every_n_train_steps, every_n_epochs and train_time_interval exclude each other";
  outside_ = take_folders_outside(o.filename);
  if (o.filename.empty() || o.filename.back() == '/') o.filename += kDefaultName;
  try {
    const auto path = fs::path(format_checkpoint_name(o.filename, {}, o.auto_insert_metric_name) + ".ckpt")
                          .lexically_normal();
    if (path.is_absolute() || *path.begin() == "..") {
      problems +=
          "\n  filename is \"" + o.filename +
          "\", which leads out of dirpath behind a field; only the folders before the first field may";
    }
  } catch (const std::invalid_argument& e) {
    problems += std::string("\n  ") + e.what();
  }
  if (!problems.empty())
    throw std::invalid_argument("ModelCheckpoint: these options cannot be used:" + problems);
  if (!o.every_n_train_steps && !o.every_n_epochs && !o.train_time_interval) o.every_n_epochs = 1;
}

std::string ModelCheckpoint::state_key() const {
  return "ModelCheckpoint{monitor=" + options_.monitor.value_or("none") + ", mode=" + options_.mode +
         ", every_n_train_steps=" + std::to_string(options_.every_n_train_steps.value_or(0)) +
         ", every_n_epochs=" + std::to_string(options_.every_n_epochs.value_or(0)) +
         (options_.train_time_interval ? ", train_time_interval=" + options_.train_time_interval->text()
                                       : "") +
         (options_.name.empty() ? "" : ", name=" + options_.name) + "}";
}

void ModelCheckpoint::setup(Trainer& trainer, LightningModule&, Stage stage) {
  if (stage == Stage::kFit) {  // a fit counts its steps anew
    last_global_step_saved_ = 0;
    newest_.clear();
    if (options_.save_on_exception && trainer.world_size() > 1)
      warn(
          "ModelCheckpoint: save_on_exception has no effect with several ranks: one that fails cannot save "
          "with the others; a job resumes from its last report()");
  }
  const auto own = fs::absolute(
      (options_.dirpath.empty() ? trainer.log_dir() / "checkpoints" : options_.dirpath) / outside_);
  dirpath_ = trainer.strategy().broadcast(without_end_slash(own).string());
}

bool ModelCheckpoint::skips(const Trainer& trainer) const {
  return trainer.options().fast_dev_run > 0 || !trainer.fitting() || trainer.sanity_checking() ||
         last_global_step_saved_ == trainer.global_step();
}

bool ModelCheckpoint::saves_at_train_epoch_end(const Trainer& trainer) const {
  if (options_.save_on_train_epoch_end) return *options_.save_on_train_epoch_end;
  const auto& o = trainer.options();
  // With a validation every few epochs nobody can say at the end of one whether its metrics are new.
  if (o.check_val_every_n_epoch != 1) return false;
  if (trainer.num_val_batches() == 0) return true;
  return o.val_check_interval.is_fraction() && o.val_check_interval.fraction() == 1.0;
}

/// The same on every rank: what follows from them is, too.
ModelCheckpoint::Candidates ModelCheckpoint::candidates_of(Trainer& trainer) {
  const auto own = trainer.callback_metrics();
  if (options_.monitor)
    warn_if_unsynced(trainer, "ModelCheckpoint", *options_.monitor, own, warned_of_unsynced_);
  auto candidates = agreed_metrics(trainer, own);
  candidates["epoch"] = candidates.contains("epoch") ? std::trunc(candidates["epoch"])
                                                     : static_cast<double>(trainer.current_epoch());
  candidates["step"] = candidates.contains("step") ? std::trunc(candidates["step"])
                                                   : static_cast<double>(trainer.global_step());
  return candidates;
}

std::string ModelCheckpoint::missing_monitor(const Candidates& candidates) const {
  return "ModelCheckpoint: the metric \"" + *options_.monitor +
         "\" was not logged, so nothing is saved; there are: " + names_of(candidates) +
         " (is it logged with log(\"" + *options_.monitor + "\", ...)?)";
}

void ModelCheckpoint::on_train_batch_end(Trainer& trainer, LightningModule&, const StepOutput&, const Batch&,
                                         std::int64_t) {
  const auto every = options_.every_n_train_steps.value_or(0);
  const bool is_step = every >= 1 && trainer.global_step() % every == 0;
  if (!interval_is_over(trainer) && !is_step) return;
  const auto candidates = candidates_of(trainer);
  const auto& monitor = options_.monitor;
  const bool validation_follows =
      trainer.num_val_batches() > 0 && trainer.is_last_batch() &&
      (!trainer.options().check_val_every_n_epoch ||
       (trainer.current_epoch() + 1) % *trainer.options().check_val_every_n_epoch == 0);
  // A metric that only the validation has, or will have anew in a moment: wait for it.
  if (monitor &&
      (!candidates.contains(*monitor) || (!saves_at_train_epoch_end(trainer) && validation_follows))) {
    deferred_until_validation_ = true;
    return;
  }
  if (!skips(trainer)) save_all(trainer, candidates);
}

bool ModelCheckpoint::interval_is_over(Trainer& trainer) {
  if (!options_.train_time_interval) return false;
  const auto now = std::chrono::steady_clock::now();
  const bool own =
      std::chrono::duration<double>(now - looked_at_).count() >= options_.train_time_interval->seconds();
  auto& strategy = trainer.strategy();
  const bool over = strategy.is_distributed() ? strategy.broadcast(own ? "1" : "0") == "1" : own;
  if (over) looked_at_ = now;
  return over;
}

void ModelCheckpoint::save_all(Trainer& trainer, const Candidates& candidates) {
  const auto displaced = save_top_k(trainer, candidates);
  save_last(trainer, candidates);
  if (!displaced.empty()) remove(trainer, displaced);
}

void ModelCheckpoint::save_for_epoch(Trainer& trainer) {
  const auto candidates = candidates_of(trainer);
  const auto every = options_.every_n_epochs.value_or(0);
  fs::path displaced;
  if (every >= 1 && (trainer.current_epoch() + 1) % every == 0) displaced = save_top_k(trainer, candidates);
  const bool links = links_last(trainer) && !newest_.empty();
  if (last_global_step_saved_ == trainer.global_step() || links) save_last(trainer, candidates);
  if (!displaced.empty()) remove(trainer, displaced);
}

void ModelCheckpoint::on_train_start(Trainer&, LightningModule&) {
  looked_at_ = std::chrono::steady_clock::now();
}

/// Lightning's rule: what was asked for is there, even if nothing else was saved.
void ModelCheckpoint::on_train_end(Trainer& trainer, LightningModule&) {
  if (options_.save_last.kind() == SaveLast::kNo || !newest_.empty()) return;
  if (trainer.options().fast_dev_run > 0) return;
  save_last(trainer, candidates_of(trainer));
}

void ModelCheckpoint::on_exception(Trainer& trainer, LightningModule&, const std::exception& error) {
  if (!options_.save_on_exception || trainer.world_size() > 1 || skips(trainer)) return;
  if (dynamic_cast<const c10::AcceleratorError*>(&error) != nullptr)
    return warn("ModelCheckpoint: the device failed, so nothing is saved");
  const auto candidates = candidates_of(trainer);
  const auto path = free_path(trainer, options_.filename, candidates, {});
  save(trainer, path);
  save_last(trainer, candidates);
  warn("ModelCheckpoint: an exception ends the fit; " + path.string() + " is saved");
}

void ModelCheckpoint::on_train_epoch_end(Trainer& trainer, LightningModule&) {
  if (!skips(trainer) && saves_at_train_epoch_end(trainer)) save_for_epoch(trainer);
  if (trainer.num_val_batches() > 0 || !std::exchange(deferred_until_validation_, false)) return;
  // Steps of this epoch waited for the metric, and no validation will bring it.
  const auto candidates = candidates_of(trainer);
  if (!candidates.contains(*options_.monitor)) throw std::runtime_error(missing_monitor(candidates));
}

void ModelCheckpoint::on_validation_end(Trainer& trainer, LightningModule&) {
  if (skips(trainer) || saves_at_train_epoch_end(trainer)) return;
  if (!std::exchange(deferred_until_validation_, false)) return save_for_epoch(trainer);
  save_all(trainer, candidates_of(trainer));
}

fs::path ModelCheckpoint::save_top_k(Trainer& trainer, const Candidates& candidates) {
  const auto top_k = options_.save_top_k;
  if (top_k == 0) return {};
  if (!options_.monitor) {
    const auto path = free_path(trainer, options_.filename, candidates, best_model_path_);
    const auto previous = std::exchange(best_model_path_, path);  // before saving: it is part of the state
    save(trainer, path);
    return top_k == 1 && previous != path ? previous : fs::path();
  }
  const auto found = candidates.find(*options_.monitor);
  if (found == candidates.end()) {
    // Lightning throws once a validation has run; without one the end of an epoch says as much.
    const bool may_come = trainer.num_val_batches() > 0 && !trainer.validation_has_run();
    if (!may_come) throw std::runtime_error(missing_monitor(candidates));
    if (!std::exchange(warned_of_missing_, true)) warn(missing_monitor(candidates));
    return {};
  }
  auto current = found->second;
  if (std::isnan(current)) current = worst();
  const auto by_score = [this](const auto& a, const auto& b) { return better(a.score, b.score); };
  fs::path displaced;
  if (top_k > 0 && static_cast<int>(best_k_models_.size()) >= top_k) {
    const auto kth =
        std::max_element(best_k_models_.begin(), best_k_models_.end(), by_score);  // of equals the first
    if (!better(current, kth->score)) return {};
    displaced = kth->path;
    best_k_models_.erase(kth);
  }
  const auto path = free_path(trainer, options_.filename, candidates, displaced);
  std::erase_if(best_k_models_, [&](const auto& model) { return model.path == path; });
  best_k_models_.push_back({path, current});
  kth_best_model_path_ = std::max_element(best_k_models_.begin(), best_k_models_.end(), by_score)->path;
  const auto best = std::min_element(best_k_models_.begin(), best_k_models_.end(), by_score);
  best_model_path_ = best->path;
  best_model_score_ = best->score;
  save(trainer, path);
  return displaced != path ? displaced : fs::path();
}

void ModelCheckpoint::save_last(Trainer& trainer, const Candidates& candidates) {
  if (options_.save_last.kind() == SaveLast::kNo) return;
  const auto path = free_path(trainer, "last", candidates, last_model_path_);
  const auto previous = std::exchange(last_model_path_, path);
  if (links_last(trainer) && !newest_.empty() && options_.save_top_k != 0)
    link(trainer, path);
  else
    save(trainer, path);
  if (!previous.empty() && previous != path) remove(trainer, previous);
}

/// Storage that is no file system has no links: there the last one is a second checkpoint.
bool ModelCheckpoint::links_last(const Trainer& trainer) const {
  return options_.save_last.kind() == SaveLast::kLink && trainer.checkpoint_io().is_local();
}

/// Makes `path` a link to the newest checkpoint. Whoever looks finds the link of before or the new one.
void ModelCheckpoint::link(Trainer& trainer, const fs::path& path) const {
  const auto make = [path, newest = newest_, rank = trainer.global_rank()] {
    const auto target = newest.lexically_relative(path.parent_path());
    std::error_code ignored;
    if (path == newest || (fs::is_symlink(path, ignored) && fs::read_symlink(path, ignored) == target))
      return;
    const auto beside = [&](const std::string& what) {
      return path.parent_path() / ("." + path.filename().string() + ".rtrain-" + what);
    };
    const auto fresh = beside("link" + std::to_string(rank)), copy = beside("old");
    fs::remove(fresh);
    fs::create_directory_symlink(target, fresh);
    if (fs::is_directory(fs::symlink_status(path, ignored))) {  // no link replaces a folder
      fs::remove_all(copy);
      fs::rename(path, copy);
    }
    fs::rename(fresh, path);
    fs::remove_all(copy);
  };
  const auto on_own_disk = [path, newest = newest_] {
    std::error_code ignored;
    return !fs::is_symlink(path, ignored) && fs::exists(newest, ignored);
  };
  const bool distributed = trainer.strategy().is_distributed();
  if (auto& io = trainer.checkpoint_io(); io.writes_later()) {
    // Of ranks that share a disk two may make the same link.
    io.after_saves([make, on_own_disk, first = trainer.is_global_zero() || !distributed] {
      if (first || on_own_disk()) make();
    });
    return;
  }
  if (trainer.is_global_zero() || !distributed) make();
  if (!distributed) return;
  trainer.strategy().barrier();
  if (!trainer.is_global_zero() && on_own_disk()) make();
}

fs::path ModelCheckpoint::free_path(Trainer& trainer, const std::string& name_template,
                                    const Candidates& candidates, const fs::path& may_replace) const {
  fs::path path;
  if (trainer.is_global_zero() || !trainer.strategy().is_distributed()) {
    const auto name = format_checkpoint_name(name_template, candidates, options_.auto_insert_metric_name);
    const auto taken = [&](const fs::path& wanted) {
      return wanted != may_replace && trainer.checkpoint_io().exists(wanted) &&
             !trainer.left_by_earlier_attempt(wanted);
    };
    path = (dirpath_ / (name + ".ckpt")).lexically_normal();
    for (int version = 1; options_.enable_version_counter && taken(path); ++version) {
      path = (dirpath_ / (name + "-v" + std::to_string(version) + ".ckpt")).lexically_normal();
    }
  }
  return trainer.strategy().broadcast(path.string());
}

void ModelCheckpoint::save(Trainer& trainer, const fs::path& path) {
  last_global_step_saved_ = trainer.global_step();
  newest_ = path;
  std::error_code ignored;
  if (trainer.checkpoint_io().is_local() && trainer.is_global_zero() && fs::is_symlink(path, ignored) &&
      !fs::exists(path, ignored))
    fs::remove(path, ignored);  // no folder replaces a link to nothing
  write(trainer, path);
}

void ModelCheckpoint::write(Trainer& trainer, const fs::path& path) {
  trainer.save_checkpoint(path, options_.save_weights_only);
  for (const auto& logger : trainer.loggers()) logger->after_save_checkpoint(*this, path);
}

std::optional<std::vector<fs::path>> ModelCheckpoint::saved(SavedCheckpoint name) const {
  switch (name) {
    case SavedCheckpoint::kBest: return std::vector{best_model_path_};
    case SavedCheckpoint::kLast: return last_checkpoints();
    case SavedCheckpoint::kOfFailure: break;
  }
  return std::nullopt;
}

std::vector<fs::path> ModelCheckpoint::last_checkpoints() const {
  static const std::regex name(R"(last(-v\d+)?\.ckpt)");
  std::vector<fs::path> found;
  if (!last_model_path_.empty()) found.push_back(last_model_path_);
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(dirpath_, missing))
    if (std::regex_match(entry.path().filename().string(), name)) found.push_back(entry.path());
  return found;
}

/// Lightning's rule: only below the own folder, and never what training was resumed from.
bool ModelCheckpoint::may_remove(const Trainer& trainer, const fs::path& path) const {
  const auto real = resolved(path);
  if (!lies_in(real, resolved(dirpath_))) return false;
  if (trainer.resumed_from().empty()) return true;
  const auto resumed = resolved(trainer.resumed_from());
  return real != resumed && !lies_in(real, resumed) && !lies_in(resumed, real);
}

void ModelCheckpoint::remove(Trainer& trainer, const fs::path& path) const {
  if (!trainer.is_global_zero() || !may_remove(trainer, path)) return;
  try {
    trainer.checkpoint_io().remove(path);
  } catch (const std::exception& failed) {
    return warn(std::string("ModelCheckpoint: ") + failed.what());
  }
  if (!trainer.checkpoint_io().is_local()) return;
  std::error_code failed;
  // A name with a slash made folders: those that are empty now go as well.
  for (auto folder = path.parent_path();
       lies_in(folder, dirpath_) && fs::is_empty(folder, failed) && fs::remove(folder, failed);
       folder = folder.parent_path()) {
  }
}

double ModelCheckpoint::worst() const {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return options_.mode == "min" ? kInfinity : -kInfinity;
}

nlohmann::json ModelCheckpoint::state_dict() const {
  nlohmann::json models = nlohmann::json::array();
  for (const auto& [path, score] : best_k_models_) models.push_back({path.string(), score});
  return {
      {"dirpath", dirpath_.string()},
      {"best_model_path", best_model_path_.string()},
      {"best_model_score", best_model_score_ ? nlohmann::json(*best_model_score_) : nlohmann::json(nullptr)},
      {"best_k_models", std::move(models)},
      {"kth_best_model_path", kth_best_model_path_.string()},
      {"last_model_path", last_model_path_.string()},
      {"newest", newest_.string()},
      {"last_global_step_saved", last_global_step_saved_},
      {"deferred_until_validation", deferred_until_validation_}};
}

void ModelCheckpoint::load_state_dict(const nlohmann::json& state) {
  best_model_path_ = fs::path(state.at("best_model_path").get<std::string>()).lexically_normal();
  last_global_step_saved_ = state.at("last_global_step_saved").get<std::int64_t>();
  deferred_until_validation_ = state.value("deferred_until_validation", false);
  const fs::path before = state.at("dirpath").get<std::string>();
  if (without_end_slash(before) != dirpath_) {
    if (options_.monitor)
      warn("ModelCheckpoint: dirpath was " + before.string() + " and is " + dirpath_.string() +
           ": only the path of the best checkpoint there is restored");
    return;  // they are not ours to manage
  }
  const auto& score = state.at("best_model_score");
  if (!score.is_null()) best_model_score_ = runtime::saved_number(score, worst());
  best_k_models_.clear();
  const auto add = [this](const std::string& path, const nlohmann::json& value) {
    best_k_models_.push_back({fs::path(path).lexically_normal(), runtime::saved_number(value, worst())});
  };
  const auto& models = state.at("best_k_models");
  if (models.is_object()) {  // of version 1, which did not keep their order
    for (const auto& item : models.items()) add(item.key(), item.value());
  } else {
    for (const auto& model : models) add(model.at(0).get<std::string>(), model.at(1));
  }
  kth_best_model_path_ = fs::path(state.at("kth_best_model_path").get<std::string>()).lexically_normal();
  last_model_path_ = fs::path(state.at("last_model_path").get<std::string>()).lexically_normal();
  newest_ = fs::path(state.value("newest", "")).lexically_normal();
}

RTRAIN_REGISTER_OPTIONS(Callback, "ModelCheckpoint", ModelCheckpoint, ModelCheckpointOptions, dirpath,
                        filename, monitor, mode, save_top_k, save_last, save_on_exception, save_weights_only,
                        auto_insert_metric_name, every_n_train_steps, every_n_epochs, train_time_interval,
                        save_on_train_epoch_end, enable_version_counter, name);

}  // namespace rtrain
