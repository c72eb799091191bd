#include <rtrain/callbacks/model_checkpoint.h>

#include <rtrain/trainer.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <limits>
#include <regex>
#include <stdexcept>

namespace rtrain {
namespace {

namespace fs = std::filesystem;

std::string formatted(double value, const std::string& format, const std::string& name_template) {
  static const std::regex allowed(R"((0?\d{0,3}(?:\.\d{1,3})?)([dfeg]?))");
  std::smatch match;
  if (!std::regex_match(format, match, allowed)) {
    throw std::invalid_argument("checkpoint name \"" + name_template + "\": the format \":" + format + "\" is not of the form [0][width][.digits][d|f|e|g]");
  }
  const auto width = match[1].str();
  const auto kind = match[2].str();
  char text[512];
  if (kind == "d" || (kind.empty() && std::nearbyint(value) == value && std::abs(value) < 1e15)) {
    std::snprintf(text, sizeof text, ("%" + width.substr(0, width.find('.')) + "lld").c_str(), static_cast<long long>(value));
  } else {
    std::snprintf(text, sizeof text, ("%" + width + (kind.empty() ? "g" : kind)).c_str(), value);
  }
  return text;
}

}  // namespace

std::string format_checkpoint_name(const std::string& name_template, const std::map<std::string, double>& values, bool auto_insert_metric_name) {
  std::string result;
  for (std::size_t at = 0; at < name_template.size();) {
    if (name_template[at] != '{') {
      result += name_template[at++];
      continue;
    }
    const auto end = name_template.find('}', at);
    if (end == std::string::npos) throw std::invalid_argument("checkpoint name \"" + name_template + "\": a \"{\" is not closed");
    const auto field = name_template.substr(at + 1, end - at - 1);
    const auto colon = field.find(':');
    const auto name = field.substr(0, colon);
    const auto found = values.find(name);
    if (auto_insert_metric_name) result += name + "=";
    result += formatted(found == values.end() ? 0 : found->second, colon == std::string::npos ? "" : field.substr(colon + 1), name_template);
    at = end + 1;
  }
  return result;
}

ModelCheckpoint::ModelCheckpoint(ModelCheckpointOptions options) : options_(std::move(options)) {
  auto& o = options_;
  std::string problems;
  if (o.mode != "min" && o.mode != "max") problems += "\n  mode is \"" + o.mode + "\", expected \"min\" or \"max\"";
  if (o.save_top_k < -1) problems += "\n  save_top_k is " + std::to_string(o.save_top_k) + ", expected -1 (all) or more";
  if (!o.monitor && o.save_top_k > 1) problems += "\n  save_top_k is " + std::to_string(o.save_top_k) + ", but there is no monitor to tell the best: -1, 0 or 1";
  if (o.every_n_train_steps.value_or(0) < 0) problems += "\n  every_n_train_steps is " + std::to_string(*o.every_n_train_steps) + ", expected 0 or more";
  if (o.every_n_epochs.value_or(0) < 0) problems += "\n  every_n_epochs is " + std::to_string(*o.every_n_epochs) + ", expected 0 or more";
  if (o.every_n_train_steps.value_or(0) > 0 && o.every_n_epochs.value_or(0) > 0) problems += "\n  every_n_train_steps and every_n_epochs exclude each other";
  try {
    (void)format_checkpoint_name(o.filename, {});
  } catch (const std::invalid_argument& e) {
    problems += std::string("\n  ") + e.what();
  }
  if (!problems.empty()) throw std::invalid_argument("ModelCheckpoint: these options cannot be used:" + problems);
  if (!o.every_n_train_steps && !o.every_n_epochs) o.every_n_epochs = 1;
  if (o.filename.empty()) o.filename = "{epoch}-{step}";
}

std::string ModelCheckpoint::state_key() const {
  return "ModelCheckpoint{monitor=" + options_.monitor.value_or("none") + ", mode=" + options_.mode +
         ", every_n_train_steps=" + std::to_string(options_.every_n_train_steps.value_or(0)) +
         ", every_n_epochs=" + std::to_string(options_.every_n_epochs.value_or(0)) + "}";
}

void ModelCheckpoint::setup(Trainer& trainer, LightningModule&, Stage) {
  const auto own = options_.dirpath.empty() ? trainer.default_root_dir() / "checkpoints" : fs::absolute(options_.dirpath);
  dirpath_ = trainer.strategy().broadcast(own.string());
}

bool ModelCheckpoint::skips(const Trainer& trainer) const {
  return !trainer.fitting() || trainer.sanity_checking() || last_global_step_saved_ == trainer.global_step();
}

bool ModelCheckpoint::saves_at_train_epoch_end(const Trainer& trainer) const {
  if (options_.save_on_train_epoch_end) return *options_.save_on_train_epoch_end;
  const auto& o = trainer.options();
  // With a validation every few epochs nobody can say at the end of one whether its metrics are new.
  if (o.check_val_every_n_epoch != 1) return false;
  if (trainer.num_val_batches() == 0) return true;
  return o.val_check_interval.is_fraction() && o.val_check_interval.fraction() == 1.0;
}

namespace {
std::map<std::string, double> candidates_of(Trainer& trainer) {
  auto candidates = trainer.callback_metrics();
  candidates["epoch"] = candidates.contains("epoch") ? std::trunc(candidates["epoch"]) : static_cast<double>(trainer.current_epoch());
  candidates["step"] = candidates.contains("step") ? std::trunc(candidates["step"]) : static_cast<double>(trainer.global_step());
  return candidates;
}
}  // namespace

void ModelCheckpoint::on_train_batch_end(Trainer& trainer, LightningModule&, const torch::Tensor&, const Batch&, std::int64_t) {
  const auto every = options_.every_n_train_steps.value_or(0);
  if (every < 1 || trainer.global_step() % every != 0) return;
  const auto candidates = candidates_of(trainer);
  const auto& monitor = options_.monitor;
  const bool validation_follows = trainer.num_val_batches() > 0 && trainer.is_last_batch() &&
                                  (!trainer.options().check_val_every_n_epoch || (trainer.current_epoch() + 1) % *trainer.options().check_val_every_n_epoch == 0);
  // A metric that only the validation has, or will have anew in a moment: wait for it.
  if (monitor && (!candidates.contains(*monitor) || (!saves_at_train_epoch_end(trainer) && validation_follows))) {
    deferred_until_validation_ = true;
    return;
  }
  if (skips(trainer)) return;
  save_top_k(trainer, candidates);
  save_last(trainer, candidates);
}

void ModelCheckpoint::save_for_epoch(Trainer& trainer) {
  const auto candidates = candidates_of(trainer);
  const auto every = options_.every_n_epochs.value_or(0);
  if (every >= 1 && (trainer.current_epoch() + 1) % every == 0) save_top_k(trainer, candidates);
  if (last_global_step_saved_ == trainer.global_step()) save_last(trainer, candidates);
}

void ModelCheckpoint::on_train_epoch_end(Trainer& trainer, LightningModule&) {
  if (!skips(trainer) && saves_at_train_epoch_end(trainer)) save_for_epoch(trainer);
}

void ModelCheckpoint::on_validation_end(Trainer& trainer, LightningModule&) {
  if (skips(trainer) || saves_at_train_epoch_end(trainer)) return;
  if (!std::exchange(deferred_until_validation_, false)) return save_for_epoch(trainer);
  const auto candidates = candidates_of(trainer);
  save_top_k(trainer, candidates);
  save_last(trainer, candidates);
}

void ModelCheckpoint::save_top_k(Trainer& trainer, const Candidates& candidates) {
  const auto top_k = options_.save_top_k;
  if (top_k == 0) return;
  if (!options_.monitor) {
    const auto path = free_path(trainer, options_.filename, candidates, best_model_path_);
    const auto previous = std::exchange(best_model_path_, path);  // before saving: it is part of the state
    save(trainer, path);
    if (top_k == 1 && !previous.empty() && previous != path) remove(trainer, previous);
    return;
  }
  const auto found = candidates.find(*options_.monitor);
  if (found == candidates.end()) {
    const auto text = "ModelCheckpoint: the metric \"" + *options_.monitor + "\" was not logged, so nothing is saved";
    if (trainer.validation_has_run()) throw std::runtime_error(text);
    if (trainer.is_global_zero()) std::cerr << "rtrain: warning: " << text << std::endl;
    return;
  }
  auto current = found->second;
  const bool full = top_k > 0 && static_cast<int>(best_k_models_.size()) >= top_k;
  // All ranks agree, or some would wait for the others for ever.
  if (full && !trainer.strategy().reduce_boolean_decision(better(current, best_k_models_.at(kth_best_model_path_.string())))) return;
  if (std::isnan(current)) current = options_.mode == "min" ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity();
  fs::path displaced;
  if (full) {
    displaced = kth_best_model_path_;
    best_k_models_.erase(displaced.string());
  }
  const auto path = free_path(trainer, options_.filename, candidates, displaced);
  best_k_models_[path.string()] = current;
  const auto by_score = [this](const auto& a, const auto& b) { return better(a.second, b.second); };
  kth_best_model_path_ = std::max_element(best_k_models_.begin(), best_k_models_.end(), by_score)->first;
  const auto best = std::min_element(best_k_models_.begin(), best_k_models_.end(), by_score);
  best_model_path_ = best->first;
  best_model_score_ = best->second;
  save(trainer, path);
  if (!displaced.empty() && displaced != path) remove(trainer, displaced);
}

void ModelCheckpoint::save_last(Trainer& trainer, const Candidates& candidates) {
  if (!options_.save_last) return;
  const auto path = free_path(trainer, "last", candidates, last_model_path_);
  const auto previous = std::exchange(last_model_path_, path);
  save(trainer, path);
  if (!previous.empty() && previous != path) remove(trainer, previous);
}

fs::path ModelCheckpoint::free_path(Trainer& trainer, const std::string& name_template, const Candidates& candidates, const fs::path& may_replace) const {
  const auto name = format_checkpoint_name(name_template, candidates, options_.auto_insert_metric_name);
  auto path = dirpath_ / (name + ".ckpt");
  for (int version = 1; options_.enable_version_counter && path != may_replace; ++version) {
    if (trainer.strategy().broadcast(fs::exists(path) ? "taken" : "free") == "free") break;
    path = dirpath_ / (name + "-v" + std::to_string(version) + ".ckpt");
  }
  return path;
}

void ModelCheckpoint::save(Trainer& trainer, const fs::path& path) {
  last_global_step_saved_ = trainer.global_step();
  trainer.save_checkpoint(path, options_.save_weights_only);
}

void ModelCheckpoint::remove(Trainer& trainer, const fs::path& path) const {
  if (!trainer.is_global_zero()) return;
  std::error_code failed;
  fs::remove_all(path, failed);
  if (failed) std::cerr << "rtrain: warning: ModelCheckpoint: " << path.string() << " could not be removed: " << failed.message() << std::endl;
}

nlohmann::json ModelCheckpoint::state_dict() const {
  nlohmann::json models = nlohmann::json::object();
  for (const auto& [path, score] : best_k_models_) models[path] = std::isfinite(score) ? nlohmann::json(score) : nlohmann::json(nullptr);
  return {{"dirpath", dirpath_.string()},
          {"best_model_path", best_model_path_.string()},
          {"best_model_score", best_model_score_ && std::isfinite(*best_model_score_) ? nlohmann::json(*best_model_score_) : nlohmann::json(nullptr)},
          {"best_k_models", std::move(models)},
          {"kth_best_model_path", kth_best_model_path_.string()},
          {"last_model_path", last_model_path_.string()},
          {"last_global_step_saved", last_global_step_saved_}};
}

void ModelCheckpoint::load_state_dict(const nlohmann::json& state) {
  best_model_path_ = state.at("best_model_path").get<std::string>();
  last_global_step_saved_ = state.at("last_global_step_saved").get<std::int64_t>();
  if (state.at("dirpath").get<std::string>() != dirpath_.string()) return;  // another folder: its other checkpoints are not ours to manage
  const auto& score = state.at("best_model_score");
  if (!score.is_null()) best_model_score_ = score.get<double>();
  const double worst = options_.mode == "min" ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity();
  for (const auto& item : state.at("best_k_models").items()) best_k_models_[item.key()] = item.value().is_null() ? worst : item.value().get<double>();
  kth_best_model_path_ = state.at("kth_best_model_path").get<std::string>();
  last_model_path_ = state.at("last_model_path").get<std::string>();
}

}  // namespace rtrain
