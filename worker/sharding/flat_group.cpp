#include "worker/sharding/flat_group.h"

#include <torch/torch.h>

#include <algorithm>
#include <utility>

namespace rtrain::sharding {
namespace {

constexpr std::int64_t kAlignmentBytes = 64;

std::int64_t alignment_of(const GroupTypes& types) {
  const auto smallest = std::min(
      {c10::elementSize(types.master), c10::elementSize(types.compute), c10::elementSize(types.reduce)});
  return kAlignmentBytes / static_cast<std::int64_t>(smallest);
}

std::vector<std::int64_t> numels_of(const std::vector<NamedParameter>& parameters) {
  std::vector<std::int64_t> numels;
  for (const auto& parameter : parameters) numels.push_back(parameter.tensor.numel());
  return numels;
}

}  // namespace

FlatGroup::FlatGroup(int number, const std::vector<NamedParameter>& parameters, const GroupTypes& types,
                     int rank, int ranks, torch::Device device, torch::Device shard_device, Watcher& watcher,
                     Communicator* source)
    : number_(number),
      rank_(rank),
      types_(types),
      device_(device),
      layout_(numels_of(parameters), alignment_of(types), ranks),
      flags_(rounded_up(static_cast<std::int64_t>(parameters.size()), alignment_of(types))) {
  const torch::NoGradGuard no_grad;
  bytes_ = static_cast<std::size_t>(layout_.whole()) * c10::elementSize(types.compute);
  storage_ = c10::Storage(c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), bytes_, c10::DataPtr(nullptr, device),
      c10::GetAllocator(device.type()), /*resizable=*/false));
  const auto compute = at::TensorOptions(device).dtype(types.compute);
  const auto view = [&](std::int64_t at, c10::IntArrayRef sizes) {
    return at::empty({0}, compute).set_(storage_, at, sizes, c10::contiguous_strides(sizes));
  };
  whole_ = view(0, {layout_.whole()});
  watch(storage_, watcher, number);
  shard_ = at::zeros({layout_.part()}, at::TensorOptions(shard_device).dtype(types.master));
  if (shard_device != device) shard_ = shard_.pin_memory();  // for copies beside the computation
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    auto parameter = parameters[i].tensor;
    const auto piece = layout_.piece(i, rank);
    const auto own = shard_.narrow(0, piece.in_part, piece.size);
    {
      auto values = parameter.detach().to(device, types.master).contiguous();
      if (source != nullptr && values.numel() > 0) {
        source->broadcast(values);
      }
      own.copy_(values.view(-1).narrow(0, piece.in_parameter, piece.size));
    }
    // One by one: the values are in memory twice of one parameter only.
    parameter.set_data(view(layout_.offset(i), parameter.sizes()));
    mark(parameter);
    members_.push_back(
        {parameters[i].name, parameter, own.detach().requires_grad_(true), piece.in_parameter});
  }
}

FlatGroup::~FlatGroup() { unwatch(storage_); }

std::size_t FlatGroup::trainable() const {
  return static_cast<std::size_t>(std::count_if(members_.begin(), members_.end(), [](const Member& member) {
    return member.parameter.requires_grad();
  }));
}

torch::Tensor FlatGroup::own_part() const { return whole_.narrow(0, rank_ * layout_.part(), layout_.part()); }

void FlatGroup::gather(Exchange& exchange, BufferPool& buffers) {
  const torch::NoGradGuard no_grad;
  const auto guard = unseen();
  storage_.unsafeGetStorageImpl()->set_data_ptr_noswap(buffers.take(bytes_));
  own_part().copy_(shard_, /*non_blocking=*/true);
  state_ = GroupState::kGathering;
  arriving_ = exchange.gather(whole_, number_, gathers++);
}

void FlatGroup::wait() {
  if (state_ != GroupState::kGathering) return;
  const auto guard = unseen();
  arriving_.wait();
  state_ = GroupState::kWhole;
}

void FlatGroup::drop(BufferPool& buffers) {
  if (state_ == GroupState::kSharded) return;
  wait();
  write_back();
  buffers.give_back(bytes_, storage_.unsafeGetStorageImpl()->set_data_ptr(c10::DataPtr(nullptr, device_)));
  state_ = GroupState::kSharded;
}

void FlatGroup::write_back() {
  if (!std::exchange(is_dirty_, false)) return;
  const torch::NoGradGuard no_grad;
  const auto guard = unseen();
  shard_.copy_(own_part());
}

void FlatGroup::release() {
  const torch::NoGradGuard no_grad;
  const auto guard = unseen();
  for (std::size_t i = 0; i < members_.size(); ++i) {
    auto parameter = members_[i].parameter;
    parameter.set_data(shard_.narrow(0, layout_.offset(i), layout_.numel(i)).view(parameter.sizes()).clone());
    unmark(parameter);
  }
}

torch::Tensor FlatGroup::pack(BufferPool& buffers, double scale) {
  const torch::NoGradGuard no_grad;
  const auto guard = unseen();
  const auto stride = layout_.part() + flags_;
  auto packed = buffers.tensor(stride * layout_.ranks(), types_.reduce);
  auto flags = at::zeros({flags_}, at::TensorOptions().dtype(types_.reduce));
  const auto factor = at::scalar_tensor(scale, at::TensorOptions(device_).dtype(types_.reduce));
  all_had_gradients_ = true;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    auto& member = members_[i];
    auto& gradient = member.parameter.mutable_grad();
    torch::Tensor flat;
    if (gradient.defined()) {
      if (gradient.is_sparse()) gradient = gradient.to_dense();
      flat = gradient.detach().contiguous().view(-1);
      flags[static_cast<std::int64_t>(i)] = 1;
    } else {
      all_had_gradients_ = false;
    }
    for (int rank = 0; rank < layout_.ranks(); ++rank) {
      const auto piece = layout_.piece(i, rank);
      if (piece.size == 0) continue;
      auto to = packed.narrow(0, rank * stride + piece.in_part, piece.size);
      if (!flat.defined()) {
        to.zero_();
        continue;
      }
      const auto from = flat.narrow(0, piece.in_parameter, piece.size);
      if (from.scalar_type() == types_.reduce) {
        at::mul_out(to, from, factor);
      } else {
        to.copy_(from);
        to.mul_(factor);
      }
    }
    gradient.reset();  // one by one: the peak is the gradients and the packed ones, not twice as much
    member.has_gradient = false;
  }
  flags = flags.to(device_, /*non_blocking=*/true);
  for (int rank = 0; rank < layout_.ranks(); ++rank)
    packed.narrow(0, rank * stride + layout_.part(), flags_).copy_(flags);
  return packed;
}

void FlatGroup::unpack(const torch::Tensor& sum) {
  const torch::NoGradGuard no_grad;
  const auto gradients = sum.narrow(0, 0, layout_.part()).to(shard_.device(), types_.master);
  // What this rank used is used. Only for the rest the host has to know what the others did.
  torch::Tensor used;
  if (!all_had_gradients_) used = sum.narrow(0, layout_.part(), flags_).to(torch::kCPU, torch::kFloat32);
  for (std::size_t i = 0; i < members_.size(); ++i) {
    auto& member = members_[i];
    if (used.defined() && used[static_cast<std::int64_t>(i)].item<float>() == 0) continue;
    const auto piece = layout_.piece(i, rank_);
    const auto mine = gradients.narrow(0, piece.in_part, piece.size);
    auto& gradient = member.piece.mutable_grad();
    if (gradient.defined())
      gradient.add_(mine);
    else
      gradient = mine;
  }
}

}  // namespace rtrain::sharding
