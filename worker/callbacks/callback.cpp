#include <rtrain/callback.h>

#include <c10/util/Type.h>

#include <memory>
#include <stdexcept>
#include <typeinfo>

namespace rtrain {

std::string Callback::state_key() const { return c10::demangle(typeid(*this).name()); }

std::vector<AnyCallback> callbacks_from(const nlohmann::json& list) {
  std::vector<AnyCallback> all;
  for (auto& callback : Names<Callback>::all_from_json(list)) all.emplace_back(std::move(callback));
  return all;
}

LightningModule& Callback::of_run() const {
  if (of_run_ != nullptr) return *of_run_;
  throw std::logic_error(state_key() + ": log() was called outside of a run");
}

void Callback::log(const std::string& name, const torch::Tensor& value, const LogOptions& options) {
  of_run().log(name, value, options);
}
void Callback::log(const std::string& name, double value, const LogOptions& options) {
  of_run().log(name, value, options);
}
void Callback::log(const std::string& name, Metric& metric, const LogOptions& options) {
  of_run().log(name, metric, options);
}
void Callback::log_dict(const std::map<std::string, torch::Tensor>& values, const LogOptions& options) {
  of_run().log_dict(values, options);
}
void Callback::log_dict(const std::map<std::string, double>& values, const LogOptions& options) {
  of_run().log_dict(values, options);
}

// Not inline: whether a class overrides one is read off its virtual table (run/overridden.h).
void Callback::on_before_zero_grad(Trainer&, LightningModule&, Optimizer&) {}
void Callback::on_before_backward(Trainer&, LightningModule&, const torch::Tensor&) {}
void Callback::on_after_backward(Trainer&, LightningModule&) {}
void Callback::on_before_optimizer_step(Trainer&, LightningModule&, Optimizer&) {}

}  // namespace rtrain
