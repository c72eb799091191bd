#include <rtrain/callbacks/progress_bar.h>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace rtrain {
namespace {

constexpr double kFrame = 0.1, kLine = 10;  // seconds between two

std::string number(const char* format, double value) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

/// `part` of `width` columns, in eighths of one.
std::string blocks(double part, int width) {
  static constexpr std::array kEighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const auto eighths = static_cast<int>(std::clamp(part, 0.0, 1.0) * width * 8);
  std::string text;
  for (int i = 0; i < eighths / 8; ++i) text += "█";
  text += kEighths.at(static_cast<std::size_t>(eighths % 8));
  const int used = eighths / 8 + (eighths % 8 != 0 ? 1 : 0);
  return text + std::string(static_cast<std::size_t>(width - used), ' ');
}

std::string title_of(const Trainer& trainer) {
  switch (trainer.stage()) {
    case Stage::kSanityCheck: return "Sanity check";
    case Stage::kValidate: return "Validation";
    case Stage::kTest: return "Test";
    case Stage::kPredict: return "Prediction";
    default: break;
  }
  const auto epochs = trainer.max_epochs();
  return "Epoch " + std::to_string(trainer.current_epoch()) +
         (epochs > 0 ? "/" + std::to_string(epochs - 1) : "");
}

}  // namespace

std::string progress_line(const std::string& title, std::int64_t done, std::int64_t all, double per_s,
                          const Metrics& metrics, const ProgressBar::Style& style) {
  const double part = all > 0 ? static_cast<double>(done) / static_cast<double>(all) : 0;
  std::string after = std::to_string(done) + (all >= 0 ? "/" + std::to_string(all) : "");
  if (per_s > 0) after += " " + number("%.3g", per_s) + " it/s";
  for (const auto& [name, value] : metrics) after += " " + name + "=" + number("%.3g", value);
  if (all <= 0) return title + ": " + after;
  const auto before = title + ": " + number("%3.0f", 100 * part) + "% ";
  const int room = style.width - static_cast<int>(before.size() + after.size()) - 2;
  auto bar = blocks(part, std::clamp(room, 5, 30));
  if (style.color) bar = "\x1b[36m" + bar + "\x1b[0m";
  return before + bar + " " + after;
}

Metrics ProgressBar::get_metrics(Trainer& trainer, LightningModule&) {
  return trainer.progress_bar_metrics();
}

ProgressBar::Style ProgressBar::style() const {
  Style style;
  style.terminal = ::isatty(STDERR_FILENO) == 1;
  const char* const none = std::getenv("NO_COLOR");
  style.color = style.terminal && (none == nullptr || *none == '\0');
  winsize size{};
  if (style.terminal && ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    style.width = size.ws_col;
  return style;
}

double ProgressBar::now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void ProgressBar::write(const std::string& text) { std::cerr << text << std::flush; }

void ProgressBar::begin() { began_ = shown_ = now(); }

void ProgressBar::show(Trainer& trainer, LightningModule& module, std::int64_t done, std::int64_t all) {
  if (!trainer.is_global_zero()) return;
  const auto at = now();
  const auto look = style();
  const bool last = done == all;
  const bool due = at - shown_ >= (look.terminal ? kFrame : kLine);
  if (!due && !(last && (look.terminal || at - began_ >= kLine))) return;
  shown_ = at;
  const double took = at - began_;
  const auto line =
      progress_line(title_of(trainer), done, all, took > 0 ? static_cast<double>(done) / took : 0,
                    get_metrics(trainer, module), look);
  // Over the line before, and no further than the end of a pass.
  write(look.terminal ? "\r\x1b[2K" + line + (last ? "\n" : "") : line + "\n");
}

void ProgressBar::on_train_epoch_start(Trainer&, LightningModule&) { begin(); }
void ProgressBar::on_validation_epoch_start(Trainer& trainer, LightningModule&) {
  if (!trainer.fitting()) begin();
}
void ProgressBar::on_test_epoch_start(Trainer&, LightningModule&) { begin(); }
void ProgressBar::on_predict_epoch_start(Trainer&, LightningModule&) { begin(); }

void ProgressBar::on_train_batch_end(Trainer& trainer, LightningModule& module, const StepOutput&,
                                     const Batch&, std::int64_t batch_idx) {
  show(trainer, module, batch_idx + 1, trainer.num_training_batches());
}
void ProgressBar::on_validation_batch_end(Trainer& trainer, LightningModule& module, const torch::Tensor&,
                                          const Batch&, std::int64_t batch_idx) {
  // Within a fit the epoch's own line stands; its rate is that of the whole epoch.
  if (!trainer.fitting()) show(trainer, module, batch_idx + 1, trainer.num_evaluation_batches());
}
void ProgressBar::on_test_batch_end(Trainer& trainer, LightningModule& module, const torch::Tensor&,
                                    const Batch&, std::int64_t batch_idx) {
  show(trainer, module, batch_idx + 1, trainer.num_evaluation_batches());
}
void ProgressBar::on_predict_batch_end(Trainer& trainer, LightningModule& module, const torch::Tensor&,
                                       const Batch&, std::int64_t batch_idx) {
  show(trainer, module, batch_idx + 1, trainer.num_evaluation_batches());
}

}  // namespace rtrain
