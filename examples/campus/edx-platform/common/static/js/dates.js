// Dates the way that a course's time zone and a learner's language want them.
import moment from 'moment-timezone/builds/moment-timezone-with-data-10-year-range';
import 'moment/locale/es';
import 'moment/locale/fr';

export function showDate(iso, zone = 'UTC', locale = 'en') {
  return moment.tz(iso, zone).locale(locale).format('LLL z');
}

export function until(iso, now = undefined) {
  return moment(iso).from(now ? moment(now) : moment());
}
