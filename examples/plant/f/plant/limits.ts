export const maxRpm: number = 1500;
