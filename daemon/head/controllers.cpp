#include "daemon/head/controllers.h"

namespace rtrain::head {

Controllers::Controllers(HeadContext& context, Turn& turn, JobRows& rows, std::function<void(JobId)> changed)
    : launcher(context, turn),
      timers(context, turn),
      debugging(context),
      hangs(context, turn, debugging),
      profiling(context),
      reservations(context, turn),
      eligibility(context, turn, reservations.all()),
      scheduling(context, turn, eligibility),
      commands(context, turn, reservations.all()),
      validations(context, turn, commands, scheduling),
      sweeps(context, turn, commands),
      node_admin(context, turn, launcher),
      retention(context, rows,
                {[this, changed = std::move(changed)](JobId id) {
                   debugging.forget(id);
                   changed(id);
                 },
                 [this] { return sweeps.needed_jobs(); },
                 [this](const std::vector<JobId>& gone) { sweeps.forget(gone); }}) {
  launcher.ask_for_pins([this](JobId job) { return sweeps.pins_of(job); });
  commands.ask_of_sweeps([this](JobId sweep) { return sweeps.book().live(sweep) != nullptr; });
  reservations.on_change(
      [this](std::vector<core::Reservation> all) { scheduling.set_reservations(std::move(all)); });
}

}  // namespace rtrain::head
