#include "worker/parallel/stage_cut.h"

#include "worker/parallel/pipeline_state.h"

#include <rtrain/parallel/partition.h>

#include <torch/torch.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <utility>

namespace rtrain::parallel {
namespace {

const void* key_of_tensor(const torch::Tensor& tensor) { return tensor.unsafeGetTensorImpl(); }

std::string join_numbers(const std::vector<int>& numbers) {
  std::string text;
  for (const int number : numbers) text += (text.empty() ? "" : ", ") + std::to_string(number);
  return text;
}

bool lacks_memory(const torch::Tensor& tensor) {
  return sharding::is_marked(tensor) && tensor.storage().data() == nullptr && tensor.numel() > 0;
}

PipelineModule& pipeline_of(const std::string& who, LightningModule& module) {
  if (auto* found = dynamic_cast<PipelineModule*>(&module)) return *found;
  throw std::invalid_argument(
      who +
      ": pipeline_parallel_size is more than 1, and the module does not say its layers: derive it from "
      "rtrain::parallel::PipelineModule, too, and give them in pipeline_layers()");
}

}  // namespace

StageCut::StageCut(std::string who, LightningModule& module, const PipelineShape& shape, int rank,
                   torch::Device device)
    : who_(std::move(who)),
      module_(&pipeline_of(who_, module)),
      shape_(shape),
      rank_(rank),
      device_(device),
      layers_(detail::layers_of(*module_)) {
  if (layers_.size() < static_cast<std::size_t>(shape_.stages()))
    throw std::invalid_argument(
        who_ + ": the module has " + std::to_string(layers_.size()) + " layers (pipeline_layers()) for " +
        std::to_string(shape_.stages()) + " stages: choose a pipeline_parallel_size" +
        (shape_.stages_a_rank > 1 ? " or virtual_stages" : "") + " of less, or cut it into more layers");
  std::vector<double> costs;
  for (const auto& layer : layers_) costs.push_back(layer.cost);
  cuts_ = cut_into_stages(costs, shape_.stages());
  sharding::require_interception();
  find_readers(module);
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    auto& member = members_[i];
    if (member.is_here && lacks_memory(member.tensor))
      throw std::runtime_error(
          who_ + ": this rank has the stages " + own_stages() + ", which read " + member.name +
          ", and a run with other stages has taken its memory away: load the checkpoint into a new module");
    if (member.is_parameter && !member.is_here) drop(i);
  }
  to(device);
}

StageCut::~StageCut() {
  for (const auto& [number, storage] : dropped_) sharding::unwatch(storage);
}

std::string StageCut::own_stages() const {
  std::vector<int> own;
  for (int stage = rank_; stage < shape_.stages(); stage += shape_.ranks) own.push_back(stage);
  return join_numbers(own);
}

void StageCut::find_readers(const LightningModule& of) {
  std::map<const void*, std::set<int>> ranks;
  for (int stage = 0; stage < shape_.stages(); ++stage)
    for (auto i = cuts_[static_cast<std::size_t>(stage)]; i < cuts_[static_cast<std::size_t>(stage) + 1];
         ++i) {
      const int reader = stage % shape_.ranks;
      for (const auto& tensor : layers_[i].tensors) ranks[key_of_tensor(tensor)].insert(reader);
      for (const auto& module : layers_[i].modules) {
        for (const auto& tensor : module->parameters()) ranks[key_of_tensor(tensor)].insert(reader);
        for (const auto& tensor : module->buffers()) ranks[key_of_tensor(tensor)].insert(reader);
      }
    }
  std::string unread;
  const auto add = [&](const std::string& name, const torch::Tensor& tensor, bool is_parameter) {
    auto& readers = ranks[key_of_tensor(tensor)];
    // A buffer that no layer names is one of the steps: of a loss.
    if (readers.empty() && !is_parameter) readers.insert((shape_.stages() - 1) % shape_.ranks);
    if (readers.empty()) unread += (unread.empty() ? "" : ", ") + name;
    by_tensor_.emplace(key_of_tensor(tensor), members_.size());
    members_.push_back({.name = name,
                        .tensor = tensor,
                        .is_parameter = is_parameter,
                        .is_here = readers.contains(rank_),
                        .ranks = {readers.begin(), readers.end()}});
  };
  for (const auto& item : of.named_parameters()) add(item.key(), item.value(), true);
  for (const auto& item : of.named_buffers()) add(item.key(), item.value(), false);
  if (!unread.empty())
    throw std::invalid_argument(who_ + ": no layer of pipeline_layers() names " + unread +
                                ": put the module that has it into PipelineLayer::modules of each layer that "
                                "reads it; what the steps themselves read belongs to the last layer");
}

void StageCut::drop(std::size_t number) {
  auto& tensor = members_[number].tensor;
  const auto first = by_tensor_.at(key_of_tensor(tensor));
  if (first != number || tensor.numel() == 0) return;
  const c10::Storage storage(c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), static_cast<std::size_t>(tensor.numel() * tensor.element_size()),
      c10::DataPtr(nullptr, device_), c10::GetAllocator(device_.type()), /*resizable=*/false));
  if (const auto before = dropped_.find(number); before != dropped_.end()) sharding::unwatch(before->second);
  const auto sizes = tensor.sizes().vec();
  const auto empty = at::empty({0}, at::TensorOptions(device_).dtype(tensor.scalar_type()))
                         .set_(storage, 0, sizes, c10::contiguous_strides(sizes));
  sharding::watch(storage, *this, static_cast<int>(number));
  tensor.set_data(empty);
  sharding::mark(tensor);
  dropped_.insert_or_assign(number, storage);
}

void StageCut::to(torch::Device device) {
  const torch::NoGradGuard no_grad;
  const bool moves = device != device_;
  device_ = device;
  std::map<const void*, Partition> split;
  for (const auto& [tensor, partition] :
       split_parameters_of(dynamic_cast<const torch::nn::Module&>(*module_)))
    split.emplace(key_of_tensor(tensor), partition);
  for (std::size_t i = 0; i < members_.size(); ++i) {
    auto& member = members_[i];
    if (member.is_here || !member.is_parameter) {
      if (member.tensor.device() != device) member.tensor.set_data(member.tensor.detach().to(device));
    } else if (moves) {
      drop(i);
    }
    const auto part = split.find(key_of_tensor(member.tensor));
    auto shape = part == split.end() ? member.tensor.sizes().vec() : part->second.whole_shape();
    if (!member.is_here) {
      auto none = at::empty({0}, at::TensorOptions(device).dtype(member.tensor.scalar_type()));
      if (member.is_parameter && member.tensor.requires_grad()) none.set_requires_grad(true);
      member.piece = {none, std::move(shape), 0};
    } else {
      member.piece = part != split.end() && !part->second.group()->is_alone()
                         ? part->second.piece(member.tensor)
                         : StatePiece(member.tensor, std::move(shape), 0);
    }
  }
}

const StageCut::Member* StageCut::find(const torch::Tensor& tensor) const {
  const auto found = by_tensor_.find(key_of_tensor(tensor));
  return found == by_tensor_.end() ? nullptr : &members_[found->second];
}

StateTree StageCut::state() const {
  StateTree state;
  for (const auto& member : members_) state.emplace(member.name, member.piece);
  return state;
}

torch::Tensor StageCut::run(int stage, torch::Tensor x) const {
  for (auto i = cuts_[static_cast<std::size_t>(stage)]; i < cuts_[static_cast<std::size_t>(stage) + 1]; ++i)
    x = layers_[i].forward(x);
  return x;
}

void StageCut::before_use(std::span<const sharding::Use> uses, std::string_view op) {
  if (is_whole_) return;
  const auto& member = members_.at(static_cast<std::size_t>(uses.front().group));
  throw std::runtime_error(
      who_ + ": " + std::string(op) + " reads " + member.name + ", which rank " + join_numbers(member.ranks) +
      " of the pipeline has, and this is rank " + std::to_string(rank_) + " (stages " + own_stages() +
      "): name its module in each layer of pipeline_layers() that reads it, or read it within "
      "full_parameters()");
}

void StageCut::with_whole(Communicator& pipeline, const std::function<void()>& body) {
  struct Closed {
    StageCut& cut;
    ~Closed() {
      cut.is_whole_ = false;
      for (const auto& [number, storage] : cut.dropped_)
        storage.unsafeGetStorageImpl()->set_data_ptr_noswap(c10::DataPtr(nullptr, cut.device_));
    }
  };
  if (is_whole_) return body();
  const Closed closed{*this};
  is_whole_ = true;
  {
    const torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < members_.size(); ++i) {
      const auto& member = members_[i];
      if (by_tensor_.at(key_of_tensor(member.tensor)) != i || member.tensor.numel() == 0) continue;
      if (const auto found = dropped_.find(i); found != dropped_.end())
        found->second.unsafeGetStorageImpl()->set_data_ptr_noswap(
            c10::GetAllocator(device_.type())->allocate(found->second.nbytes()));
      // Every rank makes the same broadcasts, also of what it has. Its own may lie in any order.
      auto values = member.is_here ? member.tensor.detach().contiguous()
                                   : at::empty(member.tensor.sizes(), member.tensor.options());
      pipeline.broadcast(values, member.ranks.front());
      if (!member.is_here) torch::Tensor(member.tensor.detach()).copy_(values);
    }
  }
  body();
}

}  // namespace rtrain::parallel
