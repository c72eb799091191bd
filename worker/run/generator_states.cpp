#include <rtrain/context.h>
#include <rtrain/generators.h>

#include "worker/run/generator_states.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>

#include <mutex>

namespace rtrain {

std::map<std::string, torch::Tensor> generator_states(torch::Device device) {
  std::map<std::string, torch::Tensor> states;
  const auto add = [&](const char* name, at::Generator generator) {
    const std::lock_guard lock(generator.mutex());
    states.emplace(name, generator.get_state());
  };
  add("rng.cpu", at::detail::getDefaultCPUGenerator());
  if (device.is_cuda()) add("rng.cuda", at::globalContext().defaultGenerator(device));
  return states;
}

void set_generator_states(const std::map<std::string, torch::Tensor>& states, torch::Device device) {
  const auto set = [&](const char* name, at::Generator generator) {
    const auto found = states.find(name);
    if (found == states.end()) return;
    const std::lock_guard lock(generator.mutex());
    generator.set_state(found->second);
  };
  set("rng.cpu", at::detail::getDefaultCPUGenerator());
  if (device.is_cuda()) set("rng.cuda", at::globalContext().defaultGenerator(device));
}

std::map<std::string, torch::Tensor> generator_states() { return generator_states(get_device()); }
void set_generator_states(const std::map<std::string, torch::Tensor>& states) {
  set_generator_states(states, get_device());
}

}  // namespace rtrain
