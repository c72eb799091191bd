#include <rtrain/parallel/pipeline.h>

#include "worker/parallel/pipeline_state.h"

#include <cstddef>
#include <stdexcept>
#include <string>

namespace rtrain::parallel {

namespace detail {

PipelineLayers layers_of(PipelineModule& module) {
  auto layers = module.pipeline_layers();
  if (layers.empty()) throw std::invalid_argument("pipeline_layers() gives no layer");
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto place = "pipeline_layers(): layer " + std::to_string(i);
    if (!layers[i].forward) throw std::invalid_argument(place + " has no forward");
    if (!(layers[i].cost >= 0))
      throw std::invalid_argument(place + ": cost is " + std::to_string(layers[i].cost) +
                                  ", expected 0 or more");
    for (const auto& one : layers[i].modules)
      if (one == nullptr) throw std::invalid_argument(place + " has a null module");
  }
  return layers;
}

}  // namespace detail

PipelineModule::PipelineModule() : state_(std::make_unique<detail::PipelineState>()) {}
PipelineModule::~PipelineModule() = default;
PipelineModule::PipelineModule(const PipelineModule&) : PipelineModule() {}
PipelineModule::PipelineModule(PipelineModule&&) noexcept : PipelineModule() {}

torch::Tensor PipelineModule::pipeline(const torch::Tensor& input) {
  if (state_->last_output) return state_->last_output();
  if (state_->layers.empty()) state_->layers = detail::layers_of(*this);
  auto x = input;
  for (const auto& layer : state_->layers) x = layer.forward(x);
  return x;
}

}  // namespace rtrain::parallel
