#include "worker/trainer/precision_choice.h"

#include "worker/run/warn.h"

#include <rtrain/names.h>

namespace rtrain {
namespace {

std::string refusal_of(const std::string& name) {
  if (name.starts_with("transformer-engine")) {
    return "precision is \"" + name +
           "\", which is float8 of NVIDIA's Transformer Engine, a library of Python that is not here: take "
           "\"bf16-mixed\", or a rtrain::Precision of your own";
  }
  std::string known;
  for (const auto& other : Names<Precision>::all()) known += (known.empty() ? "\"" : ", \"") + other + "\"";
  return "precision is \"" + name + "\", expected " + known +
         " or a precision such as rtrain::MixedPrecision(\"16-mixed\", {{.init_scale = 1024}})";
}

}  // namespace

std::shared_ptr<Precision> choose_precision(const AnyPrecision& choice, torch::Device device,
                                            const std::function<void(std::string)>& add) {
  if (choice.get()) return choice.get();
  const std::string name = choice.is_set() ? choice.name() : "32-true";
  auto made = Names<Precision>::make(name);
  if (!made) {
    add(refusal_of(name));
    return std::make_shared<Precision>();
  }
  if (name == "16" || name == "bf16") {
    warn("Trainer: precision \"" + name + "\" can be read as mixed or as true; it means \"" + name +
         "-mixed\", so write that");
  }
  if (device.is_cpu() && (name == "16" || name == "16-mixed")) {
    warn(
        "Trainer: precision \"16-mixed\" is for GPUs; on the CPU this run has \"bf16-mixed\", which needs no "
        "scaler");
    made = Names<Precision>::make("bf16-mixed");
  }
  return made;
}

}  // namespace rtrain
