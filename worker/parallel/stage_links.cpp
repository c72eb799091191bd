#include "worker/parallel/stage_links.h"

#include <torch/torch.h>

#include <numeric>
#include <stdexcept>

namespace rtrain::parallel {
namespace {

constexpr std::int64_t kDimensionsMax = 8;
constexpr std::int64_t kHeadNumbers = 2 + kDimensionsMax;  // type, dimensions, sizes

}  // namespace

StageLinks::StageLinks(Communicator& pipeline, const PipelineShape& shape, torch::Device device)
    : shape_(shape), device_(device) {
  std::vector<int> all(static_cast<std::size_t>(pipeline.world_size()));
  std::iota(all.begin(), all.end(), 0);
  up_ = pipeline.subgroup(all, "activations");
  down_ = pipeline.subgroup(all, "gradients");
  others_ = pipeline.subgroup(all, "tied parameters");
  if (shape_.stages_a_rank == 1) return;
  wrap_up_ = pipeline.subgroup(all, "activations_wrapped");
  wrap_down_ = pipeline.subgroup(all, "gradients_wrapped");
}

std::string StageLinks::words(const Form& form) {
  return std::string(c10::toString(form.type)) + " " + c10::str(c10::IntArrayRef(form.sizes));
}

void StageLinks::send(Communicator& way, const torch::Tensor& tensor, int to, int tag, const char* what) {
  while (!sent_.empty() && sent_.front().first.is_done()) sent_.pop_front();
  auto work = way.start_send(tensor, to, tag, what);
  sent_.emplace_back(std::move(work), tensor);
}

void StageLinks::send_activation(int stage, const torch::Tensor& output) {
  const auto place = "the last layer of stage " + std::to_string(stage) + " of the pipeline";
  if (!output.defined() || output.layout() != torch::kStrided || !output.is_floating_point() ||
      output.device() != device_ || output.dim() > kDimensionsMax)
    throw std::logic_error(place + " gave " +
                           (output.defined() ? words({output.scalar_type(), output.sizes().vec()}) + " on " +
                                                   output.device().str()
                                             : std::string("nothing")) +
                           ", expected a dense tensor of floating-point numbers on " + device_.str() +
                           " with at most 8 dimensions");
  const int edge = stage;
  const Form form{output.scalar_type(), output.sizes().vec()};
  const auto [known, is_new] = forms_.try_emplace({edge, batch_}, form);
  if (!is_new && known->second != form)
    throw std::logic_error(place + " gave " + words(form) + ", and before, for a batch of the same shapes, " +
                           words(known->second) +
                           ": what goes between stages depends on the batch's shapes only");
  if (is_new) {
    auto head = torch::zeros({kHeadNumbers}, torch::kInt64);
    auto* numbers = head.mutable_data_ptr<std::int64_t>();
    numbers[0] = static_cast<std::int64_t>(form.type);
    numbers[1] = static_cast<std::int64_t>(form.sizes.size());
    for (std::size_t i = 0; i < form.sizes.size(); ++i) numbers[2 + i] = form.sizes[i];
    send(up(edge), head, upper(edge), edge, "send of an activation's shape");
  }
  send(up(edge), output.detach().contiguous(), upper(edge), edge, "send of an activation");
}

torch::Tensor StageLinks::receive_activation(int stage) {
  const int edge = stage - 1;
  if (!forms_.contains({edge, batch_})) {
    auto head = torch::zeros({kHeadNumbers}, torch::kInt64);
    up(edge).start_recv(head, lower(edge), edge, "receive of an activation's shape").wait();
    const auto* numbers = head.const_data_ptr<std::int64_t>();
    forms_.try_emplace({edge, batch_}, Form{static_cast<torch::ScalarType>(numbers[0]),
                                            {numbers + 2, numbers + 2 + numbers[1]}});
  }
  const auto& form = form_of(edge);
  auto input = torch::empty(form.sizes, torch::TensorOptions(device_).dtype(form.type));
  up(edge).start_recv(input, lower(edge), edge, "receive of an activation").wait();
  return input;
}

torch::Tensor StageLinks::receive_gradient(int stage) {
  const int edge = stage;
  const auto& form = form_of(edge);
  auto gradient = torch::empty(form.sizes, torch::TensorOptions(device_).dtype(form.type));
  down(edge).start_recv(gradient, upper(edge), edge, "receive of an activation's gradient").wait();
  return gradient;
}

void StageLinks::send_gradient(int stage, const torch::Tensor& gradient) {
  const int edge = stage - 1;
  send(down(edge), gradient.to(form_of(edge).type).contiguous(), lower(edge), edge,
       "send of an activation's gradient");
}

void StageLinks::finish() {
  for (auto& [work, tensor] : sent_) work.wait();
  sent_.clear();
}

}  // namespace rtrain::parallel
